import type { Logger, Metrics } from '../telemetry/index.ts';
import { chunkPrefix, idKey, lossPrefix, segmentPrefix } from './keys.ts';
import { bufferFor, contentFor, reclaimedFor, slackFor } from './room.ts';
import type { RetentionBounds, Segment } from './segments.ts';
import type { Range, Store } from './store.ts';

/** A history's bound below this counts as one. */
const leastHistory = 4 * 1024 * 1024;
/** To how much of themselves records are taken to be compressed at best, and how far off a measurement may be. */
const leastDensity = 0.25;
const uncertain = 1.1;

/** How often LevelDB is asked to delete what a compaction left, and a range that holds nothing. */
const leftoverRounds = 2;
const nothing: Range = { gte: Buffer.of(0), lt: Buffer.of(1) };

/** Bytes of history that are deleted at a time while there is little room. */
const shedBytes = 16 * 1024 * 1024;

/** The history's bounds while there is little room: less than there is. */
export function shedding(history: RetentionBounds, bytes: number): RetentionBounds {
  return { ...history, maxBytes: Math.min(history.maxBytes, bytes - shedBytes) };
}

export interface RetentionDeps {
  readonly store: Store;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Deletes segments and gives their space back: LevelDB keeps the space of deleted entries until it is compacted. */
export class Retention {
  readonly #store: Store;
  readonly #logger: Logger;
  readonly #trimmed;
  readonly #reclaimed: number;
  readonly #history: RetentionBounds;
  readonly #slack: number;
  #written = 0;
  #leftovers = 0;
  /** Little was written of late. */
  #quiet = true;
  /** A queue held more than the history may. */
  #held = false;
  #deleted = 0;
  /** Where the next compaction begins, and where the last one ended. */
  #compacted = 0n;
  #deletedTo = 0n;
  /** Bytes on the disk per byte of records and events, after the last compaction. */
  #density = 1;

  constructor({ store, logger, metrics }: RetentionDeps, history: RetentionBounds) {
    this.#store = store;
    this.#slack = slackFor(history.maxBytes);
    this.#reclaimed = reclaimedFor(history.maxBytes);
    this.#logger = logger;
    this.#history = history;
    this.#trimmed = metrics.counter('holdfast_log_trimmed_total', 'Records deleted by retention.');
  }

  /** So much was written. */
  written(bytes: number): void {
    this.#written += bytes;
  }

  /** What was written up to here is being looked at: `kept` bytes of records. */
  begun(kept: number): void {
    this.#quiet = this.#written < bufferFor(this.#history.maxBytes);
    this.#written = 0;
    this.#held = kept > this.#history.maxBytes;
  }

  /** Whether so much was written since that what is too much should be deleted first. What a queue holds is no reason to wait. */
  get behind(): boolean {
    return this.#written > this.#slack && !this.#held;
  }

  async delete(segments: readonly Segment[]): Promise<void> {
    for (const { first, end, bytes } of segments) {
      await this.#store.write([{ type: 'del', key: idKey(segmentPrefix, first) }], false);
      await this.#store.clear({ gte: idKey(chunkPrefix, first), lt: idKey(chunkPrefix, end) });
      this.#deleted += bytes;
      this.#trimmed.add(Number(end - first));
    }
    const end = segments.at(-1)?.end;
    if (end !== undefined) await this.#store.clear({ gte: idKey(lossPrefix, 0n), lt: idKey(lossPrefix, end) });
  }

  /** The history's bounds where `events` bytes lie beside the records, and `elsewhere` bytes in other directories. */
  bounds(events: number, elsewhere: number): RetentionBounds {
    const { maxBytes } = this.#history;
    const room = contentFor(Math.max(maxBytes, leastHistory), elsewhere) / this.#density;
    return { ...this.#history, maxBytes: Math.min(maxBytes, Math.max(0, room - events)) };
  }

  /** Compacts what lies behind `head` once enough was deleted there; `pressed`: at once. `kept`: bytes that are there. */
  async reclaim(head: bigint, kept: number, pressed: boolean): Promise<void> {
    if (this.#deleted < (pressed ? 1 : this.#reclaimed)) return this.#deleteLeftovers();
    await this.#store.compact({ gte: idKey(chunkPrefix, this.#compacted), lt: idKey(chunkPrefix, head) });
    this.#logger.debug({ bytes: this.#deleted }, 'space was given back');
    this.#deleted = 0;
    // what somebody who read at that time still saw goes with the next one
    this.#compacted = this.#deletedTo;
    this.#deletedTo = head;
    this.#leftovers = leftoverRounds;
    const size = await this.#store.size({ gte: Buffer.of(chunkPrefix), lt: Buffer.of(segmentPrefix) });
    if (size > 0) this.#density = Math.min(1, Math.max(leastDensity, (size / Math.max(1, kept)) * uncertain));
  }

  /**
   * LevelDB does not delete merged tables that somebody reads at that moment, but when it next makes a table; which may take
   * days where little is written. So it is asked to once more, when nobody may read them any longer.
   */
  async #deleteLeftovers(): Promise<void> {
    if (this.#leftovers === 0 || !this.#quiet) return;
    this.#leftovers -= 1;
    await this.#store.compact(nothing);
  }
}
