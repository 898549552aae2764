import { hash } from 'node:crypto';
import type { Range } from '../log/index.ts';
import type { Kind } from './posting.ts';

/**
 * Keys of the index's directory. `a` (client), `b` (connection) or `c` (topic) + the first 16 bytes of the SHA-256 of the
 * client id or topic + the number of the block (8 bytes, big-endian): a block's row; with the letter in upper case, its
 * body, where that is apart. `p`: how far the index is.
 */
const letters: Readonly<Record<Kind, number>> = { client: 0x61, connection: 0x62, topic: 0x63 };
const kindOfLetter: Readonly<Record<number, Kind>> = { 97: 'client', 98: 'connection', 99: 'topic' };

const termBytes = 17;
const keyBytes = termBytes + 8;

export const progressKey: Buffer = Buffer.from('p');
export const rowsBegin: Buffer = Buffer.from('a');
export const rowsEnd: Buffer = Buffer.from('d');
export const everything: Range = { gte: Buffer.from([0]), lt: Buffer.from([0xff]) };

/** The part of the key that all blocks of a term have in common. */
export function termPrefix(kind: Kind, term: string): Buffer {
  const prefix = Buffer.allocUnsafe(termBytes);
  prefix[0] = letters[kind];
  hash('sha256', term, 'buffer').copy(prefix, 1, 0, termBytes - 1);
  return prefix;
}

export function rowKey(prefix: Buffer, number: number): Buffer {
  const key = Buffer.allocUnsafe(keyBytes);
  prefix.copy(key);
  key.writeUInt16BE(0, termBytes);
  key.writeUIntBE(number, termBytes + 2, 6);
  return key;
}

export function bodyKey(row: Buffer): Buffer {
  const key = Buffer.from(row);
  key[0] = (key[0] ?? 0) - 0x20;
  return key;
}

export function numberOf(row: Buffer): number {
  return row.readUIntBE(termBytes + 2, 6);
}

/** The kind of the block with that key; undefined for a key that is none of ours. */
export function kindOf(row: Buffer): Kind | undefined {
  return row.length === keyBytes ? kindOfLetter[row[0] ?? 0] : undefined;
}

export function sameTerm(a: Buffer, b: Buffer): boolean {
  return a.compare(b, 0, termBytes, 0, termBytes) === 0;
}
