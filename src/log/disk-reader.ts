import { type Clock, reasonOf } from '../base/index.ts';
import { bootOf, formatMessageId } from '../domain/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { Correct } from './chunk.ts';
import { type LogPage, readPage } from './reader.ts';
import type { Segments } from './segments.ts';
import type { Store } from './store.ts';

const againAfter = 1_000;

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

  constructor(deps: DiskReaderDeps) {
    this.#deps = deps;
  }

  read(from: bigint, max: { readonly records: number; readonly bytes: number }): Promise<LogPage> {
    const { store, until, correct } = this.#deps;
    return readPage(store, from, until(), max, correct).catch((thrown: unknown) => this.#unreadable(from, thrown));
  }

  /**
   * What to answer where the disk does not read: nothing, and a call in a second to try again. The second time at the
   * same place, what is left of that segment is given up and counted as lost, so that no reader stands still.
   */
  #unreadable(from: bigint, thrown: unknown): LogPage {
    const { clock, logger, segments, until, onDamage, onAgain } = this.#deps;
    const reason = reasonOf(thrown);
    const place = formatMessageId(from);
    onDamage(`reading at ${place} fails`);
    if (this.#unread !== from) {
      this.#unread = from;
      logger.warn({ from: place, reason }, 'the log does not read; trying again');
      clock.after('log read again', againAfter, onAgain);
      return { messages: [], next: from, lost: 0 };
    }
    const next = segments().nextStart(from) ?? until();
    const lost = bootOf(next) === bootOf(from) ? Number(next - from) : segments().between(from, next);
    logger.error({ from: place, to: formatMessageId(next), lost, reason }, 'records are lost');
    return { messages: [], next, lost };
  }
}
