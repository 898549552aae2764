import { crc32c } from '../base/index.ts';
import { commonSpan, type Span } from '../domain/index.ts';

/** How many records, and their bytes. */
export interface Amount {
  readonly records: number;
  readonly bytes: number;
}

/** What waits for a reader. `oldest`: wall time of the newest chunk of the oldest segment, milliseconds. */
export interface Waiting {
  readonly messages: number;
  readonly bytes: number;
  readonly oldest: number | undefined;
}

/** A run of neighbouring chunks of one boot: the unit of accounting and of deletion. */
export interface Segment {
  /** Id of its first record. */
  readonly first: bigint;
  /** Id behind its last record. */
  readonly end: bigint;
  readonly bytes: number;
  /** What of that is of QoS 0. */
  readonly qos0: Amount;
  /** Wall time of its newest chunk, milliseconds, and whether that clock was synchronised. */
  readonly newest: number;
  readonly synced: boolean;
}

/** Bounds of what is kept. A segment goes once one of them is exceeded and nobody needs it any more. */
export interface RetentionBounds {
  readonly maxBytes: number;
  /** Milliseconds. */
  readonly maxAge: number;
  readonly maxRecords: number;
}

/** A reader that has not yet got everything: what lies at or above `at`, and not in `done`, is its queue. */
export interface QueueBound {
  readonly name: string;
  readonly at: bigint;
  readonly done: readonly Span[];
  /** Below this id messages of QoS 0 are no part of the queue. */
  readonly shed: bigint;
  readonly maxBytes: number;
  readonly maxRecords: number;
  /** Milliseconds. */
  readonly maxAge: number;
  readonly dropsOldest: boolean;
}

const segmentBytes = 1024 * 1024;
const leastBytes = 64 * 1024;
const leastRecords = 16;
/** Part of the smallest bound that a segment may be: bounds act by whole ones. */
const share = 8;
const segmentAge = 3_600_000;
const segmentRecordBytes = 49;
/** What a queue holds on the disk may exceed its bound by this much, for what is given up in between or was got already. */
const heldBeyond = 1.2;

export function encodeSegment(segment: Segment): Buffer {
  const bytes = Buffer.allocUnsafe(segmentRecordBytes);
  bytes.writeBigUInt64BE(segment.first, 0);
  bytes.writeBigUInt64BE(segment.end, 8);
  bytes.writeDoubleLE(segment.bytes, 16);
  bytes.writeDoubleLE(segment.newest, 24);
  bytes[32] = segment.synced ? 1 : 0;
  bytes.writeUInt32LE(segment.qos0.records, 33);
  bytes.writeDoubleLE(segment.qos0.bytes, 37);
  bytes.writeUInt32LE(crc32c(bytes, 0, 45), 45);
  return bytes;
}

/** Undefined where it is damaged: the chunks tell the same. */
export function decodeSegment(bytes: Buffer): Segment | undefined {
  if (bytes.length !== segmentRecordBytes || bytes.readUInt32LE(45) !== crc32c(bytes, 0, 45)) return undefined;
  return {
    first: bytes.readBigUInt64BE(0),
    end: bytes.readBigUInt64BE(8),
    bytes: bytes.readDoubleLE(16),
    newest: bytes.readDoubleLE(24),
    synced: bytes[32] === 1,
    qos0: { records: bytes.readUInt32LE(33), bytes: bytes.readDoubleLE(37) },
  };
}

/** Messages that are known to be lost: ids from `from` up to, not including, `to`. */
export interface Loss {
  readonly from: bigint;
  readonly to: bigint;
  /** Whether no message of the same boot lies on both sides, so that who reads there sees no hole. */
  readonly hidden: boolean;
}

/** The segments of a log, oldest first: closed ones and the one that grows. Pure accounting; ids rise. */
export class Segments {
  readonly #closed: Segment[] = [];
  #open: { -readonly [K in keyof Segment]: Segment[K] } | undefined;
  #openedAt = 0;
  #bytes = 0;
  #records = 0;
  /** At what size one is closed. */
  #full = { bytes: segmentBytes, records: Number.MAX_SAFE_INTEGER };
  /** What is known to be lost, oldest first. */
  losses: readonly Loss[] = [];

  get bytes(): number {
    return this.#bytes;
  }

  get records(): number {
    return this.#records;
  }

  get head(): bigint | undefined {
    return (this.#closed[0] ?? this.#open)?.first;
  }

  /** Takes a segment that an earlier run closed; call in rising order, and `add` only behind those before it. */
  restore(segment: Segment): void {
    this.#closed.push(segment);
    this.#bytes += segment.bytes;
    this.#records += Number(segment.end - segment.first);
  }

  /**
   * Accounts for a chunk. `contiguous`: it continues where the last one ended, in the same boot.
   * @returns the segment that this chunk closed, to be stored, where it closed one.
   */
  add(chunk: {
    first: bigint;
    count: number;
    bytes: number;
    wall: number;
    synced: boolean;
    qos0: Amount;
  }): Segment | undefined {
    const open = this.#open;
    let closed: Segment | undefined;
    if (
      open !== undefined &&
      (open.end !== chunk.first || this.#isFull(open) || Math.abs(chunk.wall - this.#openedAt) >= segmentAge)
    ) {
      closed = { ...open };
      this.#closed.push(closed);
      this.#open = undefined;
    }
    if (this.#open === undefined) {
      this.#openedAt = chunk.wall;
      const { first, wall, synced } = chunk;
      this.#open = { first, end: first, bytes: 0, newest: wall, synced, qos0: { records: 0, bytes: 0 } };
    }
    this.#open.end = chunk.first + BigInt(chunk.count);
    this.#open.bytes += chunk.bytes;
    const { records, bytes } = this.#open.qos0;
    this.#open.qos0 = { records: records + chunk.qos0.records, bytes: bytes + chunk.qos0.bytes };
    this.#open.newest = chunk.wall;
    this.#open.synced = chunk.synced;
    this.#bytes += chunk.bytes;
    this.#records += chunk.count;
    return closed;
  }

  #isFull({ first, end, bytes }: Segment): boolean {
    return bytes >= this.#full.bytes || Number(end - first) >= this.#full.records;
  }

  /** Has segments be small beside these bounds. */
  #fit(bounds: readonly { readonly maxBytes: number; readonly maxRecords: number }[]): void {
    const bytes = Math.min(...bounds.map(({ maxBytes }) => maxBytes)) / share;
    const records = Math.min(...bounds.map(({ maxRecords }) => maxRecords)) / share;
    this.#full = {
      bytes: Math.min(segmentBytes, Math.max(leastBytes, bytes)),
      records: Math.max(leastRecords, records),
    };
  }

  /** Closes the one that grows. */
  close(): Segment | undefined {
    const closed = this.#open;
    this.#open = undefined;
    if (closed !== undefined) this.#closed.push(closed);
    return closed;
  }

  /** Messages in `[from, to)` that are lost and that who reads there cannot miss. */
  hiddenIn(from: bigint, to: bigint): number {
    let lost = 0;
    for (const loss of this.losses) {
      const lying = commonSpan(loss, { from, to });
      if (loss.hidden && lying.to > lying.from) lost += Number(lying.to - lying.from);
    }
    return lost;
  }

  /** Records and bytes at or above `from`. Bytes of the segment that holds `from` are taken in proportion. */
  after(from: bigint): Amount & { readonly qos0: Amount; readonly oldest: number | undefined } {
    let records = 0;
    let bytes = 0;
    let qos0Records = 0;
    let qos0Bytes = 0;
    let oldest: number | undefined;
    for (let index = this.#closed.length; index >= 0; index--) {
      const segment = index === this.#closed.length ? this.#open : this.#closed[index];
      if (segment === undefined) continue;
      if (segment.end <= from) break;
      const all = Number(segment.end - segment.first);
      const above = from > segment.first ? Number(segment.end - from) : all;
      const share = all === 0 ? 0 : above / all;
      records += above;
      bytes += Math.round(segment.bytes * share);
      qos0Records += Math.round(segment.qos0.records * share);
      qos0Bytes += Math.round(segment.qos0.bytes * share);
      if (above > 0) oldest = segment.newest;
    }
    return { records, bytes, qos0: { records: qos0Records, bytes: qos0Bytes }, oldest };
  }

  /** What waits for a reader at `at`: without what it has got beyond, and QoS 0 below `shed`. `all`: of `after(at)`. */
  waiting({ at, done, shed }: Pick<QueueBound, 'at' | 'done' | 'shed'>, all = this.after(at)): Waiting {
    let { records, bytes } = all;
    const without = (less: Amount, not: Amount) => {
      records -= less.records - not.records;
      bytes -= less.bytes - not.bytes;
    };
    for (const { from, to } of done) without(this.after(from), this.after(to));
    if (shed > at) without(all.qos0, this.after(shed).qos0);
    return { messages: Math.max(0, records), bytes: Math.max(0, bytes), oldest: all.oldest };
  }

  /** Records from `from` up to `to`. */
  between(from: bigint, to: bigint): number {
    return this.after(from).records - this.after(to).records;
  }

  /** The end of the segment that holds `from`, or lies behind it; undefined where there is none. */
  endOfSegmentAt(from: bigint): bigint | undefined {
    const holding = this.#closed.find((segment) => segment.end > from) ?? this.#open;
    return holding !== undefined && holding.end > from ? holding.end : undefined;
  }

  /** The first id of the segment behind the one that holds `from`; undefined where that is the last one. */
  nextStart(from: bigint): bigint | undefined {
    const later = this.#closed.find((segment) => segment.first > from);
    return later?.first ?? (this.#open !== undefined && this.#open.first > from ? this.#open.first : undefined);
  }

  /**
   * The closed segments to delete now, oldest first; they are forgotten here.
   * Age counts only where both clocks, then and now, were synchronised.
   */
  trim(bounds: RetentionBounds, queues: readonly QueueBound[], now: { wall: number; synced: boolean }): Segment[] {
    const gone: Segment[] = [];
    this.#fit([bounds, ...queues]);
    for (let segment = this.#closed[0]; segment !== undefined; segment = this.#closed[0]) {
      // age counts only between two moments at which the clock was right
      const age = now.synced && segment.synced ? now.wall - segment.newest : 0;
      const over = this.#bytes > bounds.maxBytes || this.#records > bounds.maxRecords || age > bounds.maxAge;
      const { end } = segment;
      const waiting = queues.filter((queue) => queue.at < end && age <= queue.maxAge);
      const overflowing = waiting.some((queue) => queue.dropsOldest && this.exceeds(queue));
      const kept = waiting.some((queue) => !queue.dropsOldest || !this.exceeds(queue));
      if (!(over || overflowing) || kept) break;
      this.#closed.shift();
      this.#bytes -= segment.bytes;
      this.#records -= Number(segment.end - segment.first);
      gone.push(segment);
    }
    return gone;
  }

  /** Whether what waits for `queue` is more than it may be. */
  exceeds(queue: QueueBound): boolean {
    const held = this.after(queue.at);
    const { bytes, messages } = this.waiting(queue, held);
    const { maxBytes, maxRecords } = queue;
    return bytes > maxBytes || messages > maxRecords || held.bytes > maxBytes * heldBeyond;
  }
}
