import { HoldfastError } from '../base/index.ts';
import { bootOf, laterOf, makeMessageId } from '../domain/index.ts';
import { type ChunkHeader, qos0In, readChunkHeader, recordsIn } from './chunk.ts';
import { type Place, readPlaces } from './cursors.ts';
import {
  bootKey,
  chunkPrefix,
  endOf,
  format,
  formatAgainKey,
  formatKey,
  idKey,
  idOfKey,
  lossPrefix,
  segmentPrefix,
  shiftPrefix,
} from './keys.ts';
import { newestOf, noteWrite, readNote } from './notes.ts';
import { type Amount, decodeSegment, encodeSegment, type Loss, type Segment, Segments } from './segments.ts';
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
  /** What was found to be lost now; not what was before. */
  readonly lost: readonly Loss[];
  /** How many notes (of readers' places, clocks, segments) do not read. */
  readonly notes: number;
}

export interface RecoverOptions {
  /** Whether every chunk is looked at: what the segments' notes say may not be so. */
  readonly thorough: boolean;
  /** The id behind the last one that is known to have been written, where that is known. */
  readonly ended: bigint | undefined;
}

/**
 * Reads cursors and segments, and the chunks that no closed segment accounts for: little, however large the store is.
 * @throws HoldfastError `later_format` where a later version wrote it, in a format that this one does not know.
 */
export async function recover(store: Store, options: RecoverOptions): Promise<Recovered> {
  const sealed = (await checkFormat(store)) > 1;
  let notes = 0;
  const noteOf = (key: Buffer, stored: Buffer, bytes?: number): Buffer | undefined => {
    const value = readNote(key, stored, bytes) ?? (!sealed && stored.length === bytes ? stored : undefined);
    if (value === undefined) notes += 1;
    return value;
  };
  const cursors = await readPlaces(store, noteOf);
  const shifts = new Map<number, number>();
  const keys = { gte: Buffer.from(shiftPrefix), lt: Buffer.from(`${shiftPrefix}\u00ff`, 'latin1') };
  for await (const [key, stored] of store.entries(keys)) {
    const value = noteOf(key, stored, 8);
    if (value !== undefined) shifts.set(key.readUInt32BE(shiftPrefix.length), value.readDoubleLE(0));
  }
  const known = new Map<bigint, Loss>();
  for await (const [key, stored] of store.entries({ gte: Buffer.from([lossPrefix]), lt: endOf('x') })) {
    const value = key.length === 9 ? noteOf(key, stored, 9) : undefined;
    if (value === undefined) continue;
    known.set(idOfKey(key), { from: idOfKey(key), to: value.readBigUInt64BE(0), hidden: value[8] === 1 });
  }
  const stored = await newestOf(store, bootKey);
  const noted = stored === undefined ? undefined : noteOf(bootKey, stored, 4);
  const walk = new Walk(store);
  if (options.thorough) {
    for await (const [key, value] of store.entries({ gte: Buffer.from([segmentPrefix]), lt: endOf('g') })) {
      walk.writes.push({ type: 'del', key });
      const segment = decodeSegment(value);
      if (segment !== undefined) walk.expected.push(segment);
    }
  } else {
    for await (const [key, value] of store.entries({ gte: Buffer.from([segmentPrefix]), lt: endOf('g') })) {
      const segment = decodeSegment(value);
      if (segment === undefined || key.length !== 9 || idOfKey(key) !== segment.first)
        walk.writes.push({ type: 'del', key });
      else await walk.take(segment);
    }
  }
  const end = await walk.finish(options.ended);
  const lost = walk.losses.filter(({ from, to }) => (known.get(from)?.to ?? 0n) < to);
  for (const loss of lost) {
    walk.writes.push(lossWrite(loss));
    known.set(loss.from, loss);
  }
  walk.segments.losses = [...known.values()];
  if (walk.writes.length > 0) await store.write(walk.writes, false);
  const boot = Math.max(noted?.readUInt32LE(0) ?? 0, bootOf(end));
  return { segments: walk.segments, cursors, shifts, damaged: walk.damaged, lost, notes, boot };
}

/** Goes through the segments in order, and through the chunks between and behind them; notes where ids are missing. */
class Walk {
  readonly segments = new Segments();
  readonly writes: Write[] = [];
  readonly damaged: bigint[] = [];
  readonly losses: Loss[] = [];
  /** What there was to the knowledge of notes that are not relied on. */
  readonly expected: Segment[] = [];
  readonly #store: Store;
  #end = 0n;
  /** What chunks without a readable header seem to hold, behind the end. */
  #unread: (readonly [bigint, bigint])[] = [];

  constructor(store: Store) {
    this.#store = store;
  }

  async take(segment: Segment): Promise<void> {
    // another one accounts for it, or it accounts for nothing
    if (segment.first < this.#end || segment.end <= segment.first) return;
    if (segment.first > this.#end) {
      await this.#chunks(idKey(chunkPrefix, segment.first));
      const closed = this.segments.close();
      if (closed !== undefined) this.writes.push(segmentWrite(closed));
    }
    this.#goOn(segment.first, segment.end);
    this.segments.restore(segment);
  }

  /** @returns the id behind the last message. */
  async finish(ended: bigint | undefined): Promise<bigint> {
    await this.#chunks(endOf('c'));
    const end = this.#end;
    const spans = this.#unread;
    if (ended !== undefined && ended > end) {
      spans.push([bootOf(ended) === bootOf(end) ? end : makeMessageId(bootOf(ended), 0), ended]);
    }
    this.#hidden(end, spans.map(([, to]) => to).reduce(laterOf, end), ...spans);
    return laterOf(ended ?? end, end);
  }

  /** Notes what is missing in `[from, to)`, where readers see no hole: `span`, and what is expected there. */
  #hidden(from: bigint, to: bigint, ...spans: (readonly [bigint, bigint])[]): void {
    const all = this.expected.map(({ first, end }) => [first > from ? first : from, end < to ? end : to] as const);
    for (const [first, end] of [...all, ...spans].filter(([a, b]) => a < b).sort(([a], [b]) => (a < b ? -1 : 1))) {
      const last = this.losses.at(-1);
      if (last?.hidden === true && last.to >= first && last.from >= from) {
        if (end > last.to) this.losses[this.losses.length - 1] = { ...last, to: end };
      } else {
        this.losses.push({ from: first, to: end, hidden: true });
      }
    }
  }

  async #chunks(lt: Buffer): Promise<void> {
    for await (const [key, value] of this.#store.entries({ gte: idKey(chunkPrefix, this.#end), lt })) {
      const first = key.length === 9 ? idOfKey(key) : 0n;
      const header = readChunkHeader(value, first);
      if (header === undefined) {
        this.damaged.push(first);
        if (key.length === 9 && first >= this.#end) this.#unread.push([first, first + BigInt(recordsIn(value))]);
      } else if (first >= this.#end) this.#chunk(header, value.length, qos0In(value, header.count));
    }
  }

  #chunk({ first, count, wall, quality }: ChunkHeader, bytes: number, qos0: Amount): void {
    const segment = this.segments.add({ first, count, bytes, wall, synced: quality === 'synced', qos0 });
    if (segment !== undefined) this.writes.push(segmentWrite(segment));
    this.#goOn(first, first + BigInt(count));
  }

  #goOn(first: bigint, end: bigint): void {
    const begun = makeMessageId(bootOf(first), 0);
    if (first > this.#end && this.#end > 0n && bootOf(first) === bootOf(this.#end)) {
      this.losses.push({ from: this.#end, to: first, hidden: false });
    } else if (first > this.#end) {
      // before the first of all there is what retention deleted
      const unread = this.#unread.filter(([from]) => bootOf(from) !== bootOf(first));
      this.#hidden(this.#end, first, ...unread, ...(this.#end > 0n ? [[begun, first] as const] : []));
    }
    this.#unread = [];
    this.#end = end;
  }
}

/** What reads as nothing known is not a reason: damage is dealt with record by record. */
async function checkFormat(store: Store): Promise<number> {
  const [found, again] = [await newestOf(store, formatKey), await newestOf(store, formatAgainKey)];
  const text = found?.toString('latin1') ?? '';
  const number = /^\d{1,9}$/.test(text) ? Number(text) : 1;
  if (number <= format || again?.toString('latin1') !== text)
    return again === undefined ? Math.min(number, format) : format;
  throw new HoldfastError(
    'later_format',
    `the log (log/ in the state directory) is in format ${text}, and this version of holdfast knows format ${format} at most: it was written by a later version, so install that one again; nothing was changed`,
  );
}

/** Stores the summary of a segment where one was closed. */
export function segmentWrites(closed: Segment | undefined): Write[] {
  return closed === undefined ? [] : [segmentWrite(closed)];
}

function segmentWrite(segment: Segment): Write {
  return { type: 'put', key: idKey(segmentPrefix, segment.first), value: encodeSegment(segment) };
}

function lossWrite({ from, to, hidden }: Loss): Write {
  const value = Buffer.allocUnsafe(9);
  value.writeBigUInt64BE(to, 0);
  value[8] = hidden ? 1 : 0;
  return noteWrite(idKey(lossPrefix, from), value);
}
