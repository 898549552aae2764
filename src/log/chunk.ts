import { crc32c } from '../base/index.ts';
import {
  type ClockQuality,
  type EventPlace,
  type GatewayEvent,
  type Message,
  type StoredEvent,
  type StoredMessage,
  storedMessage,
} from '../domain/index.ts';
import { eventBound, readEvent, writeEvent } from './event-record.ts';
import { isQos0, messageBound, messageKind, readMessage, writeMessage } from './record.ts';

const version = 1;
export const chunkHeaderBytes = 40;
const recordHeaderBytes = 8;
/** Where in every body its time stands: milliseconds after its chunk's. */
const timeAt = 2;

/** What stands at the front of a chunk. */
export interface ChunkHeader {
  readonly first: bigint;
  readonly count: number;
  /** Wall time at which the chunk was begun, milliseconds. */
  readonly wall: number;
  /** Monotonic time of the same moment, milliseconds in its boot. */
  readonly monotonic: number;
  readonly quality: ClockQuality;
}

/** Gives a header with the time that it really was, where that is known by now. */
export type Correct = (header: ChunkHeader) => ChunkHeader;

/** A chunk as it is stored, with its header as a reader would find it. */
export interface Chunk {
  readonly header: ChunkHeader;
  readonly bytes: Buffer;
}

/** Gathers records for the next commit in one reused buffer. */
export class ChunkWriter {
  #buffer = Buffer.allocUnsafeSlow(64 * 1024);
  #end = chunkHeaderBytes;
  #count = 0;
  #monotonic = 0;
  /** Where each record ends. */
  #ends: number[] = [];

  get count(): number {
    return this.#count;
  }

  /** Bytes that the chunk would have if it were taken now. */
  get bytes(): number {
    return this.#end;
  }

  add(message: Message, monotonic: number): void {
    const at = this.#begin(messageBound(message), monotonic);
    this.#finish(at, writeMessage(this.#buffer, at, message, this.#since(monotonic)));
  }

  addEvent(event: GatewayEvent, monotonic: number): void {
    const at = this.#begin(eventBound(event), monotonic);
    this.#finish(at, writeEvent(this.#buffer, at, event, this.#since(monotonic)));
  }

  #begin(bound: number, monotonic: number): number {
    if (this.#count === 0) this.#monotonic = monotonic;
    const at = this.#end + recordHeaderBytes;
    this.#reserve(at + bound);
    return at;
  }

  #since(monotonic: number): number {
    return Math.max(0, Math.round(monotonic - this.#monotonic));
  }

  #finish(at: number, end: number): void {
    this.#buffer.writeUInt32LE(end - at, this.#end);
    this.#buffer.writeUInt32LE(crc32c(this.#buffer, at, end), this.#end + 4);
    this.#end = end;
    this.#ends.push(end);
    this.#count += 1;
  }

  /** The chunk as bytes of its own; the writer is empty afterwards. `wall` and `quality` as of `now` (monotonic). */
  take(first: bigint, now: number, wall: number, quality: ClockQuality): Chunk {
    const chunk = this.#cut(this.#count, this.#end, first, now, wall, quality);
    this.#end = chunkHeaderBytes;
    this.#count = 0;
    this.#ends = [];
    if (this.#buffer.length > 1024 * 1024) this.#buffer = Buffer.allocUnsafeSlow(64 * 1024);
    return chunk;
  }

  /** The first `count` records as a chunk; the others stay. */
  takeFirst(count: number, first: bigint, now: number, wall: number, quality: ClockQuality): Chunk {
    const end = this.#ends[count - 1] ?? chunkHeaderBytes;
    const chunk = this.#cut(count, end, first, now, wall, quality);
    this.#buffer.copy(this.#buffer, chunkHeaderBytes, end, this.#end);
    const moved = end - chunkHeaderBytes;
    this.#end -= moved;
    this.#count -= count;
    this.#ends = this.#ends.slice(count).map((at) => at - moved);
    this.#rebase();
    return chunk;
  }

  /** Counts the times of the records from the first of them again. */
  #rebase(): void {
    const buffer = this.#buffer;
    const passed = buffer.readUInt32LE(chunkHeaderBytes + recordHeaderBytes + timeAt);
    this.#monotonic += passed;
    let start = chunkHeaderBytes;
    for (const end of this.#ends) {
      const body = start + recordHeaderBytes;
      buffer.writeUInt32LE(buffer.readUInt32LE(body + timeAt) - passed, body + timeAt);
      buffer.writeUInt32LE(crc32c(buffer, body, end), start + 4);
      start = end;
    }
  }

  #cut(count: number, end: number, first: bigint, now: number, wall: number, quality: ClockQuality): Chunk {
    const monotonic = this.#monotonic;
    const header = { first, count, wall: Math.round(wall - (now - monotonic)), monotonic, quality };
    const head = this.#buffer;
    head.writeUInt8(version, 0);
    head.writeUInt8(quality === 'synced' ? 1 : 0, 1);
    head.writeUInt16LE(0, 2);
    head.writeUInt32LE(header.count, 4);
    head.writeBigUInt64BE(first, 8);
    head.writeDoubleLE(header.wall, 16);
    head.writeDoubleLE(monotonic, 24);
    head.writeUInt32LE(end, 32);
    head.writeUInt32LE(crc32c(head, 0, 36), 36);
    const bytes = Buffer.allocUnsafeSlow(end);
    head.copy(bytes, 0, 0, end);
    return { header, bytes };
  }

  #reserve(bytes: number): void {
    if (bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(bytes, this.#buffer.length * 2));
    this.#buffer.copy(larger, 0, 0, this.#end);
    this.#buffer = larger;
  }
}

/** The header of `chunk`, or undefined where it is damaged. `key`: the id it is stored under. */
export function readChunkHeader(chunk: Buffer, key: bigint): ChunkHeader | undefined {
  if (chunk.length < chunkHeaderBytes || chunk[0] !== version) return undefined;
  if (chunk.readUInt32LE(36) !== crc32c(chunk, 0, 36) || chunk.readBigUInt64BE(8) !== key) return undefined;
  return {
    first: key,
    count: chunk.readUInt32LE(4),
    wall: chunk.readDoubleLE(16),
    monotonic: chunk.readDoubleLE(24),
    quality: chunk[1] === 1 ? 'synced' : 'unsynced',
  };
}

/** How many records a chunk seems to have whose header does not tell: one at least. */
export function recordsIn(chunk: Buffer): number {
  let records = 0;
  for (let at = chunkHeaderBytes; at + recordHeaderBytes < chunk.length; records++) {
    at += recordHeaderBytes + chunk.readUInt32LE(at);
    if (at > chunk.length) break;
  }
  return Math.max(1, records);
}

/** Records and bytes of QoS 0 in `chunk`. */
export function qos0In(chunk: Buffer, count: number): { readonly records: number; readonly bytes: number } {
  let records = 0;
  let bytes = 0;
  let at = chunkHeaderBytes;
  for (let index = 0; index < count && at + recordHeaderBytes < chunk.length; index++) {
    const length = recordHeaderBytes + chunk.readUInt32LE(at);
    if (isQos0(chunk, at + recordHeaderBytes)) {
      records += 1;
      bytes += length;
    }
    at += length;
  }
  return { records, bytes };
}

/**
 * Reads the messages of `chunk` with ids from `from` on into `into`. A record whose checksum is wrong is passed over.
 * @returns how many records are damaged.
 */
export function readChunk(chunk: Buffer, header: ChunkHeader, from: bigint, into: StoredMessage[]): number {
  const skip = from > header.first ? Number(from - header.first) : 0;
  return eachRecord(chunk, header, skip, (index, start, end) => {
    const body = readMessage(chunk, start, end);
    if (body !== undefined) into.push(stored(body.message, header, index, body.offset));
    return body !== undefined || chunk[start] !== messageKind;
  });
}

/**
 * The events of the chunk at `place`, each read when it is asked for: a chunk may have thousands. One whose checksum is wrong
 * is passed over.
 */
export function* eventsOf(chunk: Buffer, place: EventPlace, correct: Correct): Generator<StoredEvent, void> {
  const header = readChunkHeader(chunk, place.position);
  if (header === undefined) return;
  const { wall, quality } = correct(header);
  let at = chunkHeaderBytes;
  for (let index = 0; index < header.count; index++) {
    const end = endOfRecord(chunk, at);
    if (end === undefined) return;
    const body = isSound(chunk, at, end) ? readEvent(chunk, at + recordHeaderBytes, end) : undefined;
    // the event last: an object that is spread first and added to costs V8 several microseconds
    if (body !== undefined) yield { place, index, time: wall + body.offset, timeQuality: quality, ...body.event };
    at = end;
  }
}

/** Visits the bodies of records from `skip` on whose checksum is right; returns how many were damaged, or refused by `visit`. */
function eachRecord(
  chunk: Buffer,
  header: ChunkHeader,
  skip: number,
  visit: (index: number, start: number, end: number) => boolean,
): number {
  let damaged = 0;
  let at = chunkHeaderBytes;
  for (let index = 0; index < header.count; index++) {
    const end = endOfRecord(chunk, at);
    if (end === undefined) return damaged + (header.count - Math.max(index, skip));
    if (index >= skip && !(isSound(chunk, at, end) && visit(index, at + recordHeaderBytes, end))) damaged += 1;
    at = end;
  }
  return damaged;
}

/** Where the record at `at` ends; undefined where the chunk ends before. */
function endOfRecord(chunk: Buffer, at: number): number | undefined {
  const start = at + recordHeaderBytes;
  if (start > chunk.length) return undefined;
  const end = start + chunk.readUInt32LE(at);
  return end > chunk.length ? undefined : end;
}

function isSound(chunk: Buffer, at: number, end: number): boolean {
  return chunk.readUInt32LE(at + 4) === crc32c(chunk, at + recordHeaderBytes, end);
}

function stored(message: Message, header: ChunkHeader, index: number, offset: number): StoredMessage {
  const { first, wall, quality, monotonic } = header;
  return storedMessage(message, first + BigInt(index), wall + offset, quality, monotonic + offset);
}
