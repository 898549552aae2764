import type { EventPlace } from '../domain/index.ts';

/**
 * Keys of the log's directory, one leading letter each, so that each kind is one range:
 * `c` + first id (8 bytes, big-endian): a chunk; `e` + position (8) + offset (8): a chunk of events; `g` + first id: a
 * closed segment; `s` + name: state of other parts; `u` + name: a cursor; `d` + name: what was got beyond it; `x` + first
 * id: messages that are known to be lost; `m` + name: the log's own notes.
 */
export const chunkPrefix = 0x63;
export const segmentPrefix = 0x67;
export const lossPrefix = 0x78;
const eventPrefix = 0x65;

export function idKey(prefix: number, id: bigint): Buffer {
  const key = Buffer.allocUnsafe(9);
  key[0] = prefix;
  key.writeBigUInt64BE(id, 1);
  return key;
}

export function idOfKey(key: Buffer): bigint {
  return key.readBigUInt64BE(1);
}

export function eventKey({ position, offset }: EventPlace): Buffer {
  const key = Buffer.allocUnsafe(17);
  key[0] = eventPrefix;
  key.writeBigUInt64BE(position, 1);
  key.writeBigUInt64BE(BigInt(offset), 9);
  return key;
}

export function placeOfKey(key: Buffer): EventPlace {
  return { position: key.readBigUInt64BE(1), offset: Number(key.readBigUInt64BE(9)) };
}

export function stateKey(name: string): Buffer {
  return Buffer.from(`s${name}`);
}

export const cursorPrefix = 'u';
export const donePrefix = 'd';

export function cursorKey(name: string): Buffer {
  return Buffer.from(cursorPrefix + name);
}

export function doneKey(name: string): Buffer {
  return Buffer.from(donePrefix + name);
}

/** By how much a boot's clock was wrong before it was set. */
export const shiftPrefix = 'mshift';

export function shiftKey(boot: number): Buffer {
  const key = Buffer.from(`${shiftPrefix}0000`);
  key.writeUInt32BE(boot, shiftPrefix.length);
  return key;
}

export const bootKey: Buffer = Buffer.from('mboot');
export const formatKey: Buffer = Buffer.from('mformat');
/** The same once more: only where both say so is a store one of a later version, and not one that is damaged. */
export const formatAgainKey: Buffer = Buffer.from('mformat2');
/** The format that is described here, and the highest one that is read. In format 1 notes had no checksums. */
export const format = 2;

/** The first key behind every key that starts with `letter`. */
export function endOf(letter: string): Buffer {
  return Buffer.from([letter.charCodeAt(0) + 1]);
}
