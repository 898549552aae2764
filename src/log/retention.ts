import type { Logger, Metrics } from '../telemetry/index.ts';
import { chunkPrefix, idKey, lossPrefix, segmentPrefix } from './keys.ts';
import type { RetentionBounds, Segment } from './segments.ts';
import type { Store } from './store.ts';

const compactionBytes = 8 * 1024 * 1024;

/** Bytes of history that are deleted at a time while there is little room. */
const shedBytes = 16 * 1024 * 1024;

/** The history's bounds while there is little room: less than there is. */
export function shedding(history: RetentionBounds, bytes: number): RetentionBounds {
  return { ...history, maxBytes: Math.min(history.maxBytes, bytes - shedBytes) };
}

/** Deletes segments and gives their space back: LevelDB keeps the space of deleted entries until it is compacted. */
export class Retention {
  readonly #store: Store;
  readonly #logger: Logger;
  readonly #trimmed;
  #deleted = 0;
  #compacted = 0n;

  constructor(store: Store, logger: Logger, metrics: Metrics) {
    this.#store = store;
    this.#logger = logger;
    this.#trimmed = metrics.counter('holdfast_log_trimmed_total', 'Records deleted by retention.');
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

  /** Compacts what lies behind `head` once enough was deleted there; `pressed`: at once. */
  async reclaim(head: bigint, pressed: boolean): Promise<void> {
    if (this.#deleted < (pressed ? 1 : compactionBytes)) return;
    await this.#store.compact({ gte: idKey(chunkPrefix, this.#compacted), lt: idKey(chunkPrefix, head) });
    this.#logger.debug({ bytes: this.#deleted }, 'space was given back');
    this.#deleted = 0;
    this.#compacted = head;
  }
}
