import { commonSpan, earlierOf, laterOf, type Span, spansAbove } from '../domain/index.ts';
import { cursorKey, cursorPrefix, doneKey, donePrefix, endOf } from './keys.ts';
import { noteWrite } from './notes.ts';
import type { QueueBound, Segment, Segments, Waiting } from './segments.ts';
import type { Store, Write } from './store.ts';

/** Messages that a queue lost: ids from `from` up to, not including, `to`; `count` of them had not been read. */
export interface Dropped extends Span {
  readonly count: number;
  readonly reason: 'overflow' | 'age';
}

/** What a reader that must not lose its place is allowed to hold back. */
export interface QueueOptions {
  readonly maxBytes: number;
  readonly maxRecords: number;
  /** Milliseconds for which a message is kept for the reader; default: for ever. */
  readonly maxAge?: number;
  readonly overflow: 'drop_oldest' | 'reject';
  /** Told of what is given up; the cursor has been moved then. Without it the reader finds out by itself. */
  readonly dropped?: (dropped: Dropped) => void;
}

/** Where a reader is: everything below `at` and what is in `done` (rising) it has got. */
export interface Place {
  readonly at: bigint;
  readonly done: readonly Span[];
}

const spanBytes = 16;

/** The value of a note, which is of `bytes` bytes where that is given; undefined where it is damaged. */
type ReadNote = (key: Buffer, stored: Buffer, bytes?: number) => Buffer | undefined;

/** The places that `store` has. */
export async function readPlaces(store: Store, noteOf: ReadNote): Promise<ReadonlyMap<string, Place>> {
  const done = new Map<string, readonly Span[]>();
  for await (const [key, stored] of store.entries({ gte: Buffer.from(donePrefix), lt: endOf(donePrefix) })) {
    const value = noteOf(key, stored);
    if (value !== undefined) done.set(key.toString('utf8', 1), decodeSpans(value));
  }
  const places = new Map<string, Place>();
  for await (const [key, stored] of store.entries({ gte: Buffer.from(cursorPrefix), lt: endOf(cursorPrefix) })) {
    const name = key.toString('utf8', 1);
    const value = noteOf(key, stored, 8);
    if (value === undefined) continue;
    const { at, spans } = spansAbove(done.get(name) ?? [], value.readBigUInt64BE(0));
    places.set(name, { at, done: spans });
  }
  return places;
}

function decodeSpans(value: Buffer): readonly Span[] {
  const spans: Span[] = [];
  for (let at = 0; at + spanBytes <= value.length; at += spanBytes) {
    spans.push({ from: value.readBigUInt64BE(at), to: value.readBigUInt64BE(at + 8) });
  }
  return spans;
}

function encodeSpans(spans: readonly Span[]): Buffer {
  const value = Buffer.allocUnsafe(spans.length * spanBytes);
  for (const [index, { from, to }] of spans.entries()) {
    value.writeBigUInt64BE(from, index * spanBytes);
    value.writeBigUInt64BE(to, index * spanBytes + 8);
  }
  return value;
}

/** The places of readers, and which of them hold records back. */
export class Cursors {
  readonly #places = new Map<string, Place>();
  readonly #moved = new Set<string>();
  readonly #queues = new Map<string, QueueOptions>();
  /** Queues below whose mark messages of QoS 0 are given up. */
  readonly #shed = new Map<string, bigint>();
  /** What a killed process leaves of the places. */
  readonly #written = new Map<string, Place>();
  /** What a power cut leaves of the places. */
  readonly #fsynced = new Map<string, bigint>();
  /** Readers for whom the disk has spans beyond the cursor. */
  readonly #spanned = new Set<string>();
  /** Where a queue begins whose place is not known, where that may have been lost. */
  #fallback: bigint | undefined;

  get(name: string): bigint | undefined {
    return this.#places.get(name)?.at;
  }

  done(name: string): readonly Span[] {
    return this.#places.get(name)?.done ?? [];
  }

  move(name: string, to: bigint, done: readonly Span[] = []): void {
    this.#places.set(name, { at: to, done });
    this.#moved.add(name);
  }

  /** Takes over what the disk has; a place known in memory is newer. */
  restore(places: ReadonlyMap<string, Place>, fallback?: bigint): void {
    this.#fallback = fallback;
    for (const [name, place] of places) {
      this.#fsynced.set(name, place.at);
      this.#written.set(name, place);
      if (place.done.length > 0) this.#spanned.add(name);
      if (!this.#places.has(name)) this.#places.set(name, place);
    }
    // a store opened anew may not have got the last of them
    for (const name of this.#places.keys()) this.#moved.add(name);
  }

  holdFor(name: string, options: QueueOptions, otherwise: bigint): void {
    this.#queues.set(name, options);
    if (!this.#places.has(name)) this.move(name, this.#fallback ?? otherwise);
  }

  dropOthers(): void {
    for (const name of [...this.#places.keys()]) {
      if (this.#queues.has(name)) continue;
      this.#places.delete(name);
      this.#moved.add(name);
    }
  }

  /** What waits for a reader; nothing below `otherwise` for one without a place. */
  waiting(name: string, segments: Segments, otherwise: bigint): Waiting {
    const { at, done } = this.#places.get(name) ?? { at: otherwise, done: [] };
    return segments.waiting({ at, done, shed: this.shedBelow(name) });
  }

  /** Messages of QoS 0 below this id are no part of that queue any more. */
  shedBelow(name: string): bigint {
    return this.#shed.get(name) ?? 0n;
  }

  /**
   * The queues with their places; one without a place holds nothing back. Where one exceeds a bound its messages of QoS 0
   * are given up first, from the oldest on, as far as is needed.
   */
  bounds(segments: Segments): QueueBound[] {
    const bounds: QueueBound[] = [];
    for (const [name, options] of this.#queues) {
      const place = this.#places.get(name);
      if (place === undefined) continue;
      const { maxBytes, maxRecords, maxAge = Number.POSITIVE_INFINITY, overflow } = options;
      const dropsOldest = overflow === 'drop_oldest';
      let bound: QueueBound = { name, ...place, shed: this.shedBelow(name), maxBytes, maxRecords, maxAge, dropsOldest };
      while (segments.exceeds(bound)) {
        const shed = segments.endOfSegmentAt(laterOf(bound.shed, bound.at));
        if (shed === undefined) break;
        bound = { ...bound, shed };
      }
      if (bound.shed > bound.at) this.#shed.set(name, bound.shed);
      bounds.push(bound);
    }
    return bounds;
  }

  /**
   * Moves the queues that began below what was deleted, and tells whom it concerns.
   * @param full the queues that had met a bound of bytes or count.
   */
  deleted(gone: readonly Segment[], bounds: readonly QueueBound[], full: ReadonlySet<string>): void {
    const to = gone.at(-1)?.end;
    if (to === undefined) return;
    for (const { name, at, done } of bounds) {
      const dropped = this.#queues.get(name)?.dropped;
      if (dropped === undefined || at >= to) continue;
      const span = { from: at, to };
      let count = 0;
      for (const segment of gone) {
        count += common(span, { from: segment.first, to: segment.end });
        for (const got of done) count -= common(got, { from: segment.first, to: segment.end });
      }
      const place = spansAbove(done, to);
      this.move(name, place.at, place.spans);
      if (count > 0) dropped({ ...span, count, reason: full.has(name) ? 'overflow' : 'age' });
    }
  }

  /**
   * Records that a power cut would have sent again to the reader who has got most of late. `fsynced`: the id behind the last
   * record that a power cut leaves.
   */
  exposed(segments: Segments, fsynced: bigint): number {
    let most = 0;
    for (const [name, { at }] of this.#places) {
      const from = this.#fsynced.get(name);
      if (from !== undefined && from < at) most = Math.max(most, segments.between(from, earlierOf(at, fsynced)));
    }
    return most;
  }

  /** Records below `until`, at most, that a reader has got and a killed process would have sent to it again. */
  unwritten(name: string, until: bigint): number {
    const [place, written] = [this.#places.get(name), this.#written.get(name)];
    if (place === undefined || written === undefined) return 0;
    return Math.max(0, Number(gotBelow(place, until) - gotBelow(written, until)));
  }

  /** What is to be written of the places that moved since the last call. `sync`: it is fsynced. */
  takeWrites(sync: boolean): Write[] {
    const writes: Write[] = [];
    for (const [name, { at }] of sync ? this.#places : []) {
      // it may have been written, and not fsynced
      if (this.#fsynced.get(name) !== at) this.#moved.add(name);
      this.#fsynced.set(name, at);
    }
    for (const name of this.#moved) {
      const place = this.#places.get(name);
      if (place === undefined) {
        writes.push({ type: 'del', key: cursorKey(name) });
        this.#written.delete(name);
      } else {
        this.#written.set(name, place);
        const value = Buffer.allocUnsafe(8);
        value.writeBigUInt64BE(place.at, 0);
        writes.push(noteWrite(cursorKey(name), value));
      }
      if (place !== undefined && place.done.length > 0) {
        this.#spanned.add(name);
        writes.push(noteWrite(doneKey(name), encodeSpans(place.done)));
      } else if (this.#spanned.delete(name)) writes.push({ type: 'del', key: doneKey(name) });
    }
    this.#moved.clear();
    return writes;
  }
}

/** How many ids below `until` a reader has got, counted from 0. */
function gotBelow({ at, done }: Place, until: bigint): bigint {
  let got = earlierOf(at, until);
  for (const { from, to } of done) if (from < until) got += earlierOf(to, until) - from;
  return got;
}

/** How many ids two spans of one boot have in common. */
function common(one: Span, other: Span): number {
  const { from, to } = commonSpan(one, other);
  return to > from ? Number(to - from) : 0;
}
