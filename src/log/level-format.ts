import { crc32c } from '../base/index.ts';

/** The formats of LevelDB's files, as far as their checksums go. */

const blockBytes = 32_768;
const headerBytes = 7;
const [full, first, middle, last] = [1, 2, 3, 4];

/**
 * Reads a file in the format of LevelDB's journals and lists (its doc/log_format.txt), over what is damaged.
 * @returns the records, and how many bytes before the last of them do not read: what lies behind it may have been on its
 * way to the disk when the power went: `tail` bytes.
 */
export function readRecords(bytes: Buffer): {
  readonly records: readonly Buffer[];
  readonly dropped: number;
  readonly tail: number;
} {
  const records: Buffer[] = [];
  let parts: Buffer[] | undefined;
  let pending = 0;
  let dropped = 0;
  const partsBytes = () => (parts ?? []).reduce((sum, part) => sum + part.length + headerBytes, 0);
  let at = 0;
  while (at + headerBytes <= bytes.length) {
    const left = blockBytes - (at % blockBytes);
    if (left < headerBytes) {
      at += left;
      continue;
    }
    const length = bytes.readUInt16LE(at + 4);
    const type = bytes.readUInt8(at + 6);
    const end = at + headerBytes + length;
    const fits = headerBytes + length <= left && end <= bytes.length;
    if (!fits || type < 1 || type > 4 || bytes.readUInt32LE(at) !== masked(crc32c(bytes, at + 6, end))) {
      pending += Math.min(left, bytes.length - at) + partsBytes();
      parts = undefined;
      at += left;
      continue;
    }
    const part = bytes.subarray(at + headerBytes, end);
    at = end;
    if (type === full || type === first) {
      pending += partsBytes();
      parts = [part];
    } else if (parts === undefined) {
      pending += headerBytes + length;
      continue;
    } else {
      parts.push(part);
    }
    if (type === middle || type === first) continue;
    if (type === last || type === full) {
      records.push(Buffer.concat(parts));
      parts = undefined;
      dropped += pending;
      pending = 0;
    }
  }
  return { records, dropped, tail: pending + partsBytes() + Math.max(0, bytes.length - at) };
}

function masked(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

const footerBytes = 48;
const trailerBytes = 5;
const magic = 0xdb4775248b80fb57n;
/** The type of a block that is compressed. */
const snappy = 1;

/**
 * Where the types of those blocks of a table stand whose checksums are wrong (LevelDB's doc/table_format.txt); undefined
 * where its end, which says where they are, does not read.
 */
export function badBlocks(table: Buffer): number[] | undefined {
  const footer = table.length - footerBytes;
  if (footer < 0 || table.readBigUInt64LE(table.length - 8) !== magic) return undefined;
  const handles = new Unpacked(table.subarray(footer));
  const bad: number[] = [];
  let within = true;
  const check = (at: number, size: number): boolean => {
    const end = at + size + trailerBytes;
    if (end > footer) within = false;
    else if (table.readUInt32LE(end - 4) === masked(crc32c(table, at, end - 4))) return true;
    else bad.push(at + size);
    return false;
  };
  const [metaAt, metaSize, indexAt, indexSize] = [
    handles.number(),
    handles.number(),
    handles.number(),
    handles.number(),
  ];
  if (check(indexAt, indexSize)) for (const { at, size } of handlesIn(table, indexAt, indexSize)) check(at, size);
  // the filter, which answers that a key is not there
  if (check(metaAt, metaSize)) for (const { at, size } of handlesIn(table, metaAt, metaSize)) check(at, size);
  return within ? bad : undefined;
}

/** Where the blocks are that an index block names. */
function* handlesIn(table: Buffer, indexAt: number, indexSize: number): Generator<{ at: number; size: number }> {
  const stored = table.subarray(indexAt, indexAt + indexSize);
  const index = table[indexAt + indexSize] === snappy ? unsnap(stored) : stored;
  const entries = index.length - 4 - 4 * index.readUInt32LE(index.length - 4);
  const from = new Unpacked(index.subarray(0, Math.max(0, entries)));
  while (!from.over) {
    from.number();
    const rest = from.number();
    const size = from.number();
    from.pass(rest);
    const handle = new Unpacked(from.pass(size));
    yield { at: handle.number(), size: handle.number() };
  }
}

/** What Snappy compressed (its format_description.txt). */
function unsnap(bytes: Buffer): Buffer {
  const from = new Unpacked(bytes);
  const out = Buffer.alloc(from.number());
  let end = 0;
  while (!from.over && end < out.length) {
    const tag = from.pass(1).readUInt8(0);
    const high = tag >> 2;
    if ((tag & 3) === 0) {
      const literal = from.pass(1 + (high < 60 ? high : from.little(high - 59)));
      end += literal.copy(out, end);
      continue;
    }
    const short = (tag & 3) === 1;
    const length = short ? (high & 7) + 4 : high + 1;
    const offset = short ? (tag >> 5) * 256 + from.little(1) : from.little((tag & 3) === 2 ? 2 : 4);
    // what is copied may be what this very copy writes
    for (const stop = Math.min(end + length, out.length); end < stop; end++) out[end] = out[end - offset] ?? 0;
  }
  return out;
}

/** Reads numbers of variable length and what they give the length of; all past the end is 0, or empty. */
export class Unpacked {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get over(): boolean {
    return this.#at >= this.#bytes.length;
  }

  number(): number {
    let value = 0;
    for (let scale = 1; this.#at < this.#bytes.length; scale *= 128) {
      const byte = this.#bytes.readUInt8(this.#at++);
      value += (byte & 127) * scale;
      if (byte < 128) break;
    }
    return value;
  }

  /** A number of so many bytes, the low one first. */
  little(bytes: number): number {
    const part = this.pass(bytes);
    return part.length < bytes ? 0 : part.readUIntLE(0, bytes);
  }

  pass(length: number): Buffer {
    const from = this.#at;
    this.#at += length;
    return this.#bytes.subarray(from, this.#at);
  }

  skip(): void {
    this.pass(this.number());
  }
}
