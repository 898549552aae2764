import { crc32c } from '../base/index.ts';
import { type Kind, letIn, strides } from './posting.ts';
import { Packer, Unpacker } from './varint.ts';

/** Postings in a block at most. */
export const maxPostings = 512;
/** Bodies above this are stored apart from their row, so that counting does not read them. */
const inlineBytes = 160;

const version = 1;
const syncedBit = 0x10;
const apartBit = 0x20;
const letInBit = 0x40;

/** What a block's row says without its postings. */
export interface BlockHeader {
  readonly count: number;
  /** The boot in which all of its postings were recorded, and how far their wall times can be trusted. */
  readonly boot: number;
  readonly synced: boolean;
  readonly minTime: number;
  readonly maxTime: number;
  /** Least and greatest position, counted from the first of the boot. */
  readonly low: number;
  readonly high: number;
  /** Whether a connection that was let in is among them. */
  readonly letIn: boolean;
  /** The body where it is in the row; else its length and checksum. */
  readonly body: Buffer | { readonly bytes: number; readonly crc: number };
}

/** A block as it is stored. */
export interface PackedBlock {
  readonly row: Buffer;
  /** Where it is stored apart. */
  readonly body: Buffer | undefined;
}

const rowPacker = new Packer();
const bodyPacker = new Packer();

/** Packs the postings `[from, to)` of a list; at most `maxPostings`. */
export function packBlock(
  kind: Kind,
  boot: number,
  synced: boolean,
  list: readonly number[],
  from = 0,
  to = list.length / strides[kind],
): PackedBlock {
  const stride = strides[kind];
  let minTime = Number.POSITIVE_INFINITY;
  let maxTime = Number.NEGATIVE_INFINITY;
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  let anyLetIn = false;
  for (let at = from * stride; at < to * stride; at += stride) {
    const time = list[at] ?? 0;
    const position = list[at + 1] ?? 0;
    if (time < minTime) minTime = time;
    if (time > maxTime) maxTime = time;
    if (position < low) low = position;
    if (position > high) high = position;
    if (kind === 'connection' && list[at + 2] === letIn) anyLetIn = true;
  }
  packBody(kind, list, from * stride, to * stride, minTime, low);
  const apart = bodyPacker.end > inlineBytes;
  const body = bodyPacker.take();
  rowPacker.byte(version | (synced ? syncedBit : 0) | (apart ? apartBit : 0) | (anyLetIn ? letInBit : 0));
  rowPacker.number(boot);
  rowPacker.number(to - from);
  rowPacker.number(minTime);
  rowPacker.number(maxTime - minTime);
  rowPacker.signed(low);
  rowPacker.number(high - low);
  if (apart) {
    rowPacker.number(body.length);
    rowPacker.word(crc32c(body));
  } else {
    rowPacker.append(body);
  }
  rowPacker.word(crc32c(rowPacker.bytes, 0, rowPacker.end));
  return { row: rowPacker.take(), body: apart ? body : undefined };
}

/** Has the row's checksum speak of its key as well: a row under another term's key would be counted there. */
export function bindRow(row: Buffer, key: Buffer): Buffer {
  const end = row.length - 4;
  row.writeUInt32LE((row.readUInt32LE(end) ^ crc32c(key)) >>> 0, end);
  return row;
}

/** What the row of a block says; undefined where it is damaged, or bound to another key. */
export function readHeader(row: Buffer, key?: Buffer): BlockHeader | undefined {
  const end = row.length - 4;
  if (end < 8) return undefined;
  const bound = key === undefined ? 0 : crc32c(key);
  if (row.readUInt32LE(end) !== (crc32c(row, 0, end) ^ bound) >>> 0) return undefined;
  const unpack = new Unpacker(row);
  const flags = unpack.byte();
  if ((flags & 0x0f) !== version) return undefined;
  const boot = unpack.number();
  const count = unpack.number();
  const minTime = unpack.number();
  const maxTime = minTime + unpack.number();
  const low = unpack.signed();
  const high = low + unpack.number();
  const body = (flags & apartBit) === 0 ? row.subarray(unpack.at, end) : { bytes: unpack.number(), crc: unpack.word() };
  const synced = (flags & syncedBit) !== 0;
  return { count, boot, synced, minTime, maxTime, low, high, letIn: (flags & letInBit) !== 0, body };
}

/** Whether `body` is the one that its header speaks of. */
export function isBodyOf(header: BlockHeader, body: Buffer): boolean {
  const { body: expected } = header;
  return Buffer.isBuffer(expected) || (body.length === expected.bytes && crc32c(body) === expected.crc);
}

/** The postings of a block, as a list of numbers. */
export function unpackBody(kind: Kind, header: BlockHeader, body: Buffer): number[] {
  const unpack = new Unpacker(body);
  const list: number[] = [];
  let time = header.minTime;
  let position = header.low;
  let offset = 0;
  for (let left = header.count; left > 0; left--) {
    const packed = unpack.number();
    time += (packed % 2 === 0 ? 1 : -1) * Math.floor(packed / 16);
    position += unpack.signed();
    list.push(time, position);
    if (kind === 'topic') continue;
    list.push(Math.floor(packed / 2) % 8);
    if (kind === 'client') continue;
    offset += unpack.signed();
    list.push(offset, unpack.number());
  }
  return list;
}

/** Each posting as the difference to the one before. The sign of the time's, and the flags, share a number with it. */
function packBody(kind: Kind, list: readonly number[], from: number, to: number, minTime: number, low: number): void {
  let time = minTime;
  let position = low;
  let offset = 0;
  for (let at = from; at < to; at += strides[kind]) {
    const timeStep = (list[at] ?? 0) - time;
    time += timeStep;
    const flags = kind === 'topic' ? 0 : (list[at + 2] ?? 0);
    bodyPacker.number(Math.abs(timeStep) * 16 + flags * 2 + (timeStep < 0 ? 1 : 0));
    const nextPosition = list[at + 1] ?? 0;
    bodyPacker.signed(nextPosition - position);
    position = nextPosition;
    if (kind !== 'connection') continue;
    const nextOffset = list[at + 3] ?? 0;
    bodyPacker.signed(nextOffset - offset);
    offset = nextOffset;
    bodyPacker.number(list[at + 4] ?? 0);
  }
}
