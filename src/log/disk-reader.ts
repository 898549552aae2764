import { type Clock, reasonOf } from '../base/index.ts';
import { bootOf, formatMessageId } from '../domain/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { Correct } from './chunk.ts';
import { type LogPage, nextReadable, readPage } from './reader.ts';
import type { Segments } from './segments.ts';
import type { Store } from './store.ts';

const againAfter = 1_000;
/** Places with losses that are remembered, so that each is told once. */
const maxTold = 1_000;

export interface DiskReaderDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly segments: () => Segments;
  readonly correct: Correct;
  /** Id behind the last committed record. */
  readonly until: () => bigint;
  readonly onDamage: (detail: string) => void;
  /** Called when it is time to try a place again that did not read. */
  readonly onAgain: () => void;
}

/** Pages from the disk, over places that do not read. */
export class DiskReader {
  readonly #deps: DiskReaderDeps;
  #unread: bigint | undefined;
  readonly #told = new Set<bigint>();

  constructor(deps: DiskReaderDeps) {
    this.#deps = deps;
  }

  async read(from: bigint, max: { readonly records: number; readonly bytes: number }): Promise<LogPage> {
    const { store, segments, until, correct } = this.#deps;
    let page: LogPage;
    try {
      page = await readPage(store, from, until(), max, correct, (a, b) => segments().between(a, b));
    } catch (thrown) {
      return this.#unreadable(from, reasonOf(thrown));
    }
    if (page.lost > 0) this.#tell(from, page.next, page.lost, 'damaged');
    const hidden = segments().hiddenIn(from, page.next);
    return hidden === 0 ? page : { ...page, lost: page.lost + hidden };
  }

  /**
   * What to answer where the disk does not read: nothing, and a call in a second to try again. The second time at the
   * same place, all up to the next place that reads is given up and counted as lost, so that no reader stands still.
   */
  async #unreadable(from: bigint, reason: string): Promise<LogPage> {
    const { store, clock, logger, segments, until, onDamage, onAgain } = this.#deps;
    const place = formatMessageId(from);
    if (this.#unread !== from) {
      this.#unread = from;
      onDamage(`reading at ${place} fails`);
      logger.warn({ from: place, reason }, 'the log does not read; trying again');
      clock.after('log read again', againAfter, onAgain);
      return { messages: [], next: from, lost: 0 };
    }
    const next = await nextReadable(store, from, until());
    const seen = bootOf(next) === bootOf(from) ? Number(next - from) : segments().between(from, next);
    const lost = seen + segments().hiddenIn(from, next);
    this.#tell(from, next, lost, reason);
    return { messages: [], next, lost };
  }

  #tell(first: bigint, end: bigint, lost: number, reason: string): void {
    if (this.#told.has(first) || this.#told.size >= maxTold) return;
    this.#told.add(first);
    const [from, to] = [formatMessageId(first), formatMessageId(end)];
    this.#deps.onDamage(`${lost} messages from ${from} up to ${to} are lost`);
    this.#deps.logger.error({ from, to, lost, reason }, 'messages are lost');
  }
}
