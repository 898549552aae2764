import { bootOf, earlierOf, type Span, type StoredMessage, spanEnd } from '../domain/index.ts';
import type { LogPage, UpstreamLog } from './deps.ts';
import type { Gap } from './gap.ts';

export interface PageReaderDeps {
  readonly log: Pick<UpstreamLog, 'read' | 'ahead' | 'head' | 'next'>;
  /** The id to begin with. */
  readonly from: bigint;
  /** The id to end before; undefined: none. */
  readonly until: bigint | undefined;
  /** What is not to be read. */
  readonly done: readonly Span[];
  /** Where to go on instead of at `id`: behind what is done, or was given up by the log, which has told so. */
  readonly skipTo: (id: bigint) => bigint;
  /** Records between two ids are gone. */
  readonly gapped: (gap: Gap) => void;
  /** A page that had to be waited for is here. */
  readonly ready: () => void;
  readonly failed: (thrown: unknown) => void;
}

const page = { records: 512, bytes: 256 * 1_024 };

/** Reads the log message by message, one page ahead, and skips what was trimmed away before it was read. */
export class PageReader {
  readonly #deps: PageReaderDeps;
  #messages: readonly StoredMessage[] = [];
  #at = 0;
  /** The end of the current page; undefined once it was asked for through `passed`. */
  #end: bigint | undefined;
  #ahead: LogPage | undefined;
  #from: bigint;
  #reading = false;
  /** The log had nothing more when it was read last. */
  #dry = false;
  #commits = 0;

  constructor(deps: PageReaderDeps) {
    this.#deps = deps;
    this.#from = deps.from;
  }

  /** The next message, or undefined where none is at hand. */
  peek(): StoredMessage | undefined {
    for (;;) {
      const message = this.#messages[this.#at];
      if (message !== undefined) return message;
      if (this.#ahead === undefined) this.#read();
      const ahead = this.#ahead;
      if (ahead === undefined) return undefined;
      this.#messages = ahead.messages;
      this.#at = 0;
      this.#end = ahead.next;
      this.#ahead = undefined;
      if (ahead.messages.length > 0) this.#read();
    }
  }

  /** Takes the message that `peek` showed. */
  shift(): void {
    this.#at += 1;
  }

  /** Where the whole current page has been taken: the id after it, records that are no messages included. Told once. */
  get passed(): bigint | undefined {
    if (this.#at < this.#messages.length) return undefined;
    const end = this.#end;
    this.#end = undefined;
    return end;
  }

  /** Whether all below `id` was taken or is at hand, and how many of that wait to be taken; undefined where not. */
  waitingBelow(id: bigint): number | undefined {
    if (this.#ahead !== undefined || this.#reading || this.#from < this.#deps.log.next) return undefined;
    return this.#messages.length - this.#at + Number(id - this.#from);
  }

  /** There may be more than there was. */
  grown(): void {
    this.#commits += 1;
    this.#dry = false;
  }

  #read(): void {
    if (this.#reading || this.#dry) return;
    const { log, gapped, until, done, skipTo } = this.#deps;
    const from = this.#from;
    const at = skipTo(from);
    if (until !== undefined && from >= until) {
      this.#dry = true;
      return;
    }
    if (from < at) {
      this.#accept({ messages: [], next: at, lost: 0 }, from);
      return;
    }
    if (from < log.head) {
      const next = done.find((span) => span.from > from)?.from;
      const head = earlierOf(next ?? log.head, log.head);
      // Ids are contiguous within a boot; how many a past boot used is not known here.
      const count = bootOf(from) === bootOf(head) ? Number(head - from) : undefined;
      gapped({ from, to: head, count, reason: 'trimmed' });
      this.#accept({ messages: [], next: head, lost: 0 }, from);
      return;
    }
    const commits = this.#commits;
    try {
      // what is not on the disk yet is read from memory: it may be acknowledged before it has to be
      const result = from >= log.next ? log.ahead(from) : log.read(from, page);
      if (!(result instanceof Promise)) {
        this.#accept(result, from);
        return;
      }
      this.#reading = true;
      result.then(
        (read) => {
          this.#reading = false;
          this.#accept(read, from);
          if (this.#commits !== commits) this.#dry = false;
          if (!this.#dry) this.#deps.ready();
        },
        (thrown: unknown) => this.#fail(thrown),
      );
    } catch (thrown) {
      this.#fail(thrown);
    }
  }

  #fail(thrown: unknown): void {
    this.#reading = false;
    this.#dry = true;
    this.#deps.failed(thrown);
  }

  #accept(read: LogPage, from: bigint): void {
    if (read.lost > 0) this.#deps.gapped({ from, to: read.next, count: read.lost, reason: 'damaged' });
    if (read.messages.length === 0 && read.next === from) {
      this.#dry = true;
      return;
    }
    this.#ahead = this.#within(read);
    this.#from = this.#ahead.next;
  }

  /** Without what is beyond the end, or done. */
  #within(read: LogPage): LogPage {
    const { until, done } = this.#deps;
    if (until === undefined && done.length === 0) return read;
    const end = until ?? read.next;
    const messages = read.messages.filter(({ id }) => id < end && spanEnd(done, id) === undefined);
    return { ...read, messages, next: earlierOf(read.next, end) };
  }
}
