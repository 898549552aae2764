import type { Clock } from '../base/index.ts';
import type { Store, Write } from '../log/index.ts';
import { bindRow, maxPostings, packBlock } from './block.ts';
import { marked } from './bound.ts';
import { bodyKey, progressKey, rowKey, termPrefix } from './keys.ts';
import { kinds, strides } from './posting.ts';
import { type Place, type Progress, writeProgress } from './progress.ts';
import type { RecentPostings } from './recent.ts';
import { Slices } from './slices.ts';

const sliceMs = 2;

export interface FlushDeps {
  readonly store: Store;
  readonly clock: Clock;
  /** Entries in a write: the event loop stands still while they are handed over. */
  readonly atOnce: number;
}

/**
 * Writes the recent postings, unsynced. `now`: what the disk says; `place`: what the postings lead up to; `head`: the oldest
 * message in the log.
 *
 * One write does where there is little. Else the first of several declares the numbers of all the blocks void, and the
 * last one, which says how far the index is, takes that back: a flush that is cut off leaves nothing that counts.
 * @returns what the disk says then.
 */
export async function flush(
  { store, clock, atOnce }: FlushDeps,
  recent: RecentPostings,
  now: Progress,
  place: Place,
  head: bigint,
): Promise<Progress> {
  const slices = new Slices(clock, 'index flush', sliceMs);
  const reserved = now.block + recent.count;
  let cutOff: Progress | undefined = { ...now, block: reserved, void: [...now.void, [now.block, reserved]] };
  let writes: Write[] = [];
  let number = now.block;
  for (const { boot, synced, lists } of recent.batches) {
    for (const kind of kinds) {
      for (const [term, list] of lists[kind]) {
        const prefix = termPrefix(kind, term);
        const count = list.length / strides[kind];
        for (let from = 0; from < count; from += maxPostings) {
          const { row, body } = packBlock(kind, boot, synced, list, from, Math.min(count, from + maxPostings));
          const key = rowKey(prefix, number++);
          writes.push({ type: 'put', key, value: bindRow(row, key) });
          if (body !== undefined) writes.push({ type: 'put', key: bodyKey(key), value: body });
          if (writes.length >= atOnce) {
            if (cutOff !== undefined) writes.push(progressWrite(cutOff));
            cutOff = undefined;
            await store.write(writes, false);
            writes = [];
          }
          if (slices.over) await slices.pause();
        }
      }
    }
  }
  const added = { blocks: now.added.blocks + number - now.block, postings: now.added.postings + recent.count };
  const marks = marked(now.marks, now.message, recent.count, head);
  const after: Progress = { ...now, ...place, block: number, added, marks };
  await store.write([...writes, progressWrite(after)], false);
  return after;
}

export function progressWrite(progress: Progress): Write {
  return { type: 'put', key: progressKey, value: writeProgress(progress) };
}
