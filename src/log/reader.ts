import type { StoredMessage } from '../domain/index.ts';
import { bootOf } from '../domain/index.ts';
import { type Correct, readChunk, readChunkHeader } from './chunk.ts';
import { chunkPrefix, idKey, idOfKey } from './keys.ts';
import type { Store } from './store.ts';

/** Messages in id order. `next`: the id to go on from. `lost`: records known to be missing or damaged in that span. */
export interface LogPage {
  readonly messages: readonly StoredMessage[];
  readonly next: bigint;
  readonly lost: number;
}

/**
 * Reads a page from the disk. Starts at the chunk that holds `from`; ids that no chunk holds, and records whose checksum
 * is wrong, are counted as lost. `until`: the id behind the last committed record.
 */
export async function readPage(
  store: Store,
  from: bigint,
  until: bigint,
  max: { readonly records: number; readonly bytes: number },
  correct: Correct,
): Promise<LogPage> {
  const messages: StoredMessage[] = [];
  const end = idKey(chunkPrefix, until);
  const start = await chunkAt(store, from);
  let next = from;
  let lost = 0;
  let bytes = 0;
  for await (const [key, value] of store.entries({ gte: start, lt: end })) {
    const first = idOfKey(key);
    if (first > next && bootOf(first) === bootOf(next)) lost += Number(first - next);
    const header = readChunkHeader(value, first);
    if (header === undefined) continue;
    const chunkEnd = first + BigInt(header.count);
    if (chunkEnd > next) {
      lost += readChunk(value, correct(header), next, messages);
      next = chunkEnd;
      bytes += value.length;
    }
    if (messages.length >= max.records || bytes >= max.bytes) return { messages, next, lost };
  }
  if (bootOf(next) === bootOf(until) && until > next) lost += Number(until - next);
  return { messages, next: until, lost };
}

/** The key of the chunk that holds `from`, or of the first behind it. */
async function chunkAt(store: Store, from: bigint): Promise<Buffer> {
  const key = idKey(chunkPrefix, from);
  const behind = Buffer.concat([key, Buffer.from([0])]);
  for await (const [found, value] of store.entries({ gte: idKey(chunkPrefix, 0n), lt: behind, reverse: true })) {
    const first = idOfKey(found);
    const header = readChunkHeader(value, first);
    return header !== undefined && first + BigInt(header.count) > from ? found : key;
  }
  return key;
}
