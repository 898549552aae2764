import { reasonOf } from '../base/index.ts';
import type { StoredMessage } from '../domain/index.ts';
import { bootOf } from '../domain/index.ts';
import { type Correct, readChunk, readChunkHeader } from './chunk.ts';
import { chunkPrefix, idKey, idOfKey } from './keys.ts';
import { isDamage, type Store } from './store.ts';

/** Messages in id order. `next`: the id to go on from. `lost`: records known to be missing or damaged in that span. */
export interface LogPage {
  readonly messages: readonly StoredMessage[];
  readonly next: bigint;
  readonly lost: number;
}

/**
 * Reads a page from the disk. Starts at the chunk that holds `from`; ids that no chunk holds, and records whose checksum
 * is wrong, are counted as lost. `until`: the id behind the last committed record. `known`: how many records there were
 * between two ids, for the ends of boots, which no id tells.
 */
export async function readPage(
  store: Store,
  from: bigint,
  until: bigint,
  max: { readonly records: number; readonly bytes: number },
  correct: Correct,
  known: (from: bigint, to: bigint) => number,
): Promise<LogPage> {
  const messages: StoredMessage[] = [];
  const end = idKey(chunkPrefix, until);
  const start = await chunkAt(store, from);
  let next = from;
  let lost = 0;
  let bytes = 0;
  try {
    for await (const [key, value] of store.entries({ gte: start, lt: end })) {
      const first = idOfKey(key);
      const header = readChunkHeader(value, first);
      if (header === undefined) continue;
      if (first > next) lost += bootOf(first) === bootOf(next) ? Number(first - next) : known(next, first);
      const chunkEnd = first + BigInt(header.count);
      if (chunkEnd > next) {
        lost += readChunk(value, correct(header), next, messages);
        next = chunkEnd;
        bytes += value.length;
      }
      if (messages.length >= max.records || bytes >= max.bytes) return { messages, next, lost };
    }
  } catch (thrown) {
    // what lies before a place that does not read is as good as any
    if (next === from) throw thrown;
    return { messages, next, lost };
  }
  if (until > next) lost += bootOf(next) === bootOf(until) ? Number(until - next) : known(next, until);
  return { messages, next: until, lost };
}

/** The key of the chunk that holds `from`, or of the first behind it. */
async function chunkAt(store: Store, from: bigint): Promise<Buffer> {
  const key = idKey(chunkPrefix, from);
  const behind = Buffer.concat([key, Buffer.from([0])]);
  try {
    for await (const [found, value] of store.entries({ gte: idKey(chunkPrefix, 0n), lt: behind, reverse: true })) {
      const first = idOfKey(found);
      const header = readChunkHeader(value, first);
      return header !== undefined && first + BigInt(header.count) > from ? found : key;
    }
  } catch (thrown) {
    if (!isDamage(reasonOf(thrown))) throw thrown;
  }
  return key;
}

/** The lowest id above `from` from which the store reads on, as near as seeking finds it; `until` where none does. */
export async function nextReadable(store: Store, from: bigint, until: bigint): Promise<bigint> {
  const reads = async (id: bigint): Promise<boolean> => {
    try {
      for await (const _entry of store.entries({ gte: idKey(chunkPrefix, id), lt: idKey(chunkPrefix, until) })) break;
      return true;
    } catch {
      return false;
    }
  };
  let bad = from;
  let good = until;
  for (let step = 1n; from + step < good; step *= 2n) {
    if (await reads(from + step)) good = from + step;
    else bad = from + step;
  }
  while (good - bad > 1n) {
    const between = (bad + good) / 2n;
    if (await reads(between)) good = between;
    else bad = between;
  }
  return good;
}
