import { crc32c } from '../base/index.ts';
import type { Store, Write } from './store.ts';

/** A small entry with a CRC-32C over key and value before it: LevelDB does not look at its own when it reads. */
export function noteWrite(key: Buffer, value: Buffer): Write {
  const sealed = Buffer.allocUnsafe(4 + value.length);
  sealed.set(value, 4);
  sealed.writeUInt32LE(checksum(key, value), 0);
  return { type: 'put', key, value: sealed };
}

/** The value of a note; undefined where it is damaged, or not of `bytes` bytes. */
export function readNote(key: Buffer, sealed: Buffer, bytes?: number): Buffer | undefined {
  if (sealed.length < 4 || (bytes !== undefined && sealed.length !== 4 + bytes)) return undefined;
  const value = sealed.subarray(4);
  return sealed.readUInt32LE(0) === checksum(key, value) ? value : undefined;
}

/** The value under `key`. After a repair LevelDB's own `get` may find an older one, and an iterator does not. */
export async function newestOf(store: Store, key: Buffer): Promise<Buffer | undefined> {
  for await (const [, value] of store.entries({ gte: key, lt: Buffer.concat([key, Buffer.from([0])]) })) return value;
  return undefined;
}

function checksum(key: Buffer, value: Buffer): number {
  return crc32c(Buffer.concat([key, value]));
}
