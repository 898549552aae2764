import { laterOf, type Span, type StoredMessage, spanEnd, spansAbove } from '../domain/index.ts';
import { AckWindow } from './ack-window.ts';
import type { UpstreamLog } from './deps.ts';
import { PageReader, type PageReaderDeps } from './page-reader.ts';

export interface LanesDeps extends Pick<PageReaderDeps, 'gapped' | 'ready' | 'failed'> {
  readonly name: string;
  readonly log: UpstreamLog;
  /** Messages in flight at most, in all. */
  readonly limit: number;
  /** Whether what comes in from now on overtakes the backlog. */
  readonly liveFirst: boolean;
  /** Share of the window, in percent, that the backlog leaves to what overtakes it. */
  readonly freshShare: number;
}

/** One way through the log: a reader, and the window of what was sent of what it read. */
export interface Lane {
  readonly pages: PageReader;
  readonly window: AckWindow<StoredMessage>;
}

/** Spans beyond the cursor that are kept at most; after that what overtakes continues where it ended. */
const maxSpans = 8;

/**
 * The lanes of one link. Usually there is one, from the cursor on. Where the newest go first there are two while a
 * backlog is sent: what that lane has got beyond the cursor is a span of its own, kept with the cursor, so that nothing of
 * it is sent twice; when the backlog has come up to it, one lane is left.
 */
export class Lanes {
  readonly #deps: LanesDeps;
  /** Messages in flight at most, in all. */
  limit: number;
  /** What was got beyond the cursor when the link came up. */
  readonly #done: readonly Span[];
  /** The lane for what comes in now, and the only one where there is no backlog beside it. */
  #main: Lane;
  /** Where the span of the main lane began; undefined where it began at the cursor. */
  #since: bigint | undefined;
  #backlog: Lane | undefined;
  #written: bigint | undefined;

  constructor(deps: LanesDeps) {
    this.#deps = deps;
    this.limit = deps.limit;
    const { log, name, liveFirst } = deps;
    const { at, spans } = spansAbove(log.done(name), log.cursor(name) ?? log.head);
    this.#done = spans;
    if (!liveFirst || at >= log.next) {
      this.#main = this.#lane(at, undefined);
      return;
    }
    const last = spans.length < maxSpans ? undefined : spans.at(-1);
    this.#since = last?.from ?? log.next;
    this.#main = this.#lane(last?.to ?? log.next, undefined);
    this.#backlog = this.#lane(at, this.#since);
  }

  /** The lane that what is accepted now goes through. */
  get main(): Lane {
    return this.#main;
  }

  /** All, in the order in which they may send. */
  get all(): readonly Lane[] {
    return this.#backlog === undefined ? [this.#main] : [this.#main, this.#backlog];
  }

  /** Sent and not acknowledged. */
  get open(): number {
    return this.#main.window.open + (this.#backlog?.window.open ?? 0);
  }

  /** How many more `lane` may send now. */
  room(lane: Lane): number {
    const { limit } = this;
    const { freshShare } = this.#deps;
    if (this.#backlog === undefined) return limit - lane.window.size;
    const left = limit - this.#main.window.size - this.#backlog.window.size;
    // the backlog always gets on, however much comes in meanwhile
    if (lane === this.#main) return Math.min(left, Math.max(1, limit - 1) - lane.window.size);
    return Math.min(left, Math.max(1, Math.floor((limit * (100 - freshShare)) / 100)) - lane.window.size);
  }

  grown(): void {
    for (const { pages } of this.all) pages.grown();
  }

  /** The oldest message that is not acknowledged, sent or at hand. */
  get oldest(): StoredMessage | undefined {
    const lane = this.#backlog ?? this.#main;
    return lane.window.oldest?.item ?? lane.pages.peek();
  }

  /** Notes in the log what was got. */
  save(): void {
    const { log, name } = this.#deps;
    const backlog = this.#backlog;
    if (backlog !== undefined && backlog.window.size === 0 && backlog.window.cursor >= (this.#since ?? 0n)) {
      this.#backlog = undefined;
      this.#since = undefined;
    }
    const main = this.#main.window.cursor;
    const reached = this.#backlog?.window.cursor ?? main;
    const known = log.cursor(name);
    // the log moves it too, where it gives messages up
    const cursor = laterOf(known ?? reached, reached);
    if (cursor === known && main === this.#written) return;
    this.#written = main;
    const own = this.#since === undefined || main === this.#since ? [] : [{ from: this.#since, to: main }];
    const others = this.#since === undefined ? this.#done : this.#done.filter(({ from }) => from < (this.#since ?? 0n));
    const { at, spans } = spansAbove([...others, ...own], cursor);
    log.moveCursor(name, at, spans);
  }

  #lane(from: bigint, until: bigint | undefined): Lane {
    const { log, name, gapped, ready, failed } = this.#deps;
    const pages = new PageReader({
      log,
      from,
      until,
      done: this.#done,
      skipTo: (id) => {
        const at = laterOf(log.cursor(name) ?? id, id);
        return spanEnd(this.#done, at) ?? at;
      },
      gapped,
      ready,
      failed,
    });
    return { pages, window: new AckWindow(from) };
  }
}
