import { HoldfastError } from '../base/index.ts';
import { qos0In, readChunkHeader } from './chunk.ts';
import { type Place, readPlaces } from './cursors.ts';
import { bootKey, chunkPrefix, endOf, format, formatKey, idKey, idOfKey, segmentPrefix, shiftPrefix } from './keys.ts';
import { decodeSegment, encodeSegment, Segments } from './segments.ts';
import type { Store, Write } from './store.ts';

/** What a store was found to hold. */
export interface Recovered {
  readonly segments: Segments;
  readonly cursors: ReadonlyMap<string, Place>;
  /** By how much clocks were wrong before they were set, by boot; milliseconds. */
  readonly shifts: ReadonlyMap<number, number>;
  /** Highest boot number that the store knows of; 0 = none. */
  readonly boot: number;
  /** First ids of chunks whose header does not read. */
  readonly damaged: readonly bigint[];
}

/**
 * Reads cursors and segments, and the chunks behind the last closed segment: little, however large the store is.
 * @throws HoldfastError `start_failed` where a later version wrote it, in a format that this one does not know.
 */
export async function recover(store: Store): Promise<Recovered> {
  await checkFormat(store);
  const cursors = await readPlaces(store);
  const segments = new Segments();
  let end = 0n;
  for await (const [, value] of store.entries({ gte: idKey(segmentPrefix, 0n), lt: endOf('g') })) {
    const segment = decodeSegment(value);
    if (segment === undefined) continue;
    segments.restore(segment);
    end = segment.end;
  }
  const closed: Write[] = [];
  const damaged: bigint[] = [];
  for await (const [key, value] of store.entries({ gte: idKey(chunkPrefix, end), lt: endOf('c') })) {
    const first = idOfKey(key);
    const header = readChunkHeader(value, first);
    if (header === undefined) {
      damaged.push(first);
      continue;
    }
    const { count, wall, quality } = header;
    const qos0 = qos0In(value, count);
    const segment = segments.add({ first, count, bytes: value.length, wall, synced: quality === 'synced', qos0 });
    if (segment !== undefined) closed.push(segmentWrite(segment));
    end = first + BigInt(count);
  }
  if (closed.length > 0) await store.write(closed, false);
  const shifts = new Map<number, number>();
  const keys = { gte: Buffer.from(shiftPrefix), lt: Buffer.from(`${shiftPrefix}\u00ff`, 'latin1') };
  for await (const [key, value] of store.entries(keys)) {
    if (value.length === 8) shifts.set(key.readUInt32BE(shiftPrefix.length), value.readDoubleLE(0));
  }
  const stored = await store.get(bootKey);
  const noted = stored?.length === 4 ? stored.readUInt32LE(0) : 0;
  return { segments, cursors, shifts, damaged, boot: Math.max(noted, Number(end >> 40n)) };
}

/** What reads as nothing known is not a reason: damage is dealt with record by record. */
async function checkFormat(store: Store): Promise<void> {
  const found = (await store.get(formatKey))?.toString('latin1') ?? '';
  if (!/^\d{1,9}$/.test(found) || Number(found) <= format) return;
  throw new HoldfastError(
    'start_failed',
    `the log is in format ${found}, and this version of holdfast knows format ${format} at most: it was written by a later version, so install that one again; nothing was changed`,
  );
}

export function segmentWrite(segment: Parameters<typeof encodeSegment>[0]): Write {
  return { type: 'put', key: idKey(segmentPrefix, segment.first), value: encodeSegment(segment) };
}
