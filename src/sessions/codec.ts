import { crc32c } from '../base/index.ts';
import type { QoS, StoredMessage } from '../domain/index.ts';

/** Kinds of entries, first byte of their keys. */
export const prefix = {
  watermark: 'w',
  session: 's',
  subscription: 'b',
  content: 'm',
  queued: 'q',
  incoming: 'i',
  will: 'x',
  kept: 'k',
  owedFrom: 'o',
  observer: 'e',
  format: 'f',
} as const;

/** The format of the store that is written here, and the highest one that is read; one without a number is in 1. */
export const latest = 2;

/** Kind, length of the client id, client id, rest. */
export function clientKey(kind: string, clientId: string, rest: Uint8Array = noBytes): Buffer {
  const id = Buffer.from(clientId);
  const key = Buffer.allocUnsafe(3 + id.length + rest.length);
  key.write(kind, 0, 'latin1');
  key.writeUInt16BE(id.length, 1);
  key.set(id, 3);
  key.set(rest, 3 + id.length);
  return key;
}

const noBytes = new Uint8Array(0);

/** Client id and rest of a key made by `clientKey`. */
export function readClientKey(key: Buffer): { readonly clientId: string; readonly rest: Buffer } | undefined {
  if (key.length < 3) return undefined;
  const end = 3 + key.readUInt16BE(1);
  if (end > key.length) return undefined;
  return { clientId: key.toString('utf8', 3, end), rest: key.subarray(end) };
}

export function bytesOfId(id: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigUInt64BE(id);
  return bytes;
}

/** Puts a CRC-32C of key and value before a value: LevelDB does not verify its own when it reads. */
export function seal(key: Buffer, value: Buffer): Buffer {
  const sealed = Buffer.allocUnsafe(4 + value.length);
  sealed.set(value, 4);
  sealed.writeUInt32LE((crc32c(sealed, 4, sealed.length) ^ crc32c(key)) >>> 0, 0);
  return sealed;
}

/** The value within; undefined where it, or its key, is damaged. `format`: the store's; in 1 keys had no checksums. */
export function unseal(key: Buffer, sealed: Buffer, format: number = latest): Buffer | undefined {
  if (sealed.length < 4) return undefined;
  const found = sealed.readUInt32LE(0);
  const expected = crc32c(sealed, 4, sealed.length);
  const right = found === (expected ^ crc32c(key)) >>> 0 || (format < 2 && found === expected);
  return right ? sealed.subarray(4) : undefined;
}

/** What a queue needs of a message. */
export type Content = Pick<
  StoredMessage,
  'id' | 'topic' | 'payload' | 'qos' | 'expiry' | 'time' | 'timeQuality' | 'monotonic'
>;

const contentBytes = 24;

export function encodeContent(content: Content): Buffer {
  const topic = Buffer.from(content.topic);
  const bytes = Buffer.alloc(contentBytes + topic.length + content.payload.length);
  bytes[0] = content.qos | (content.timeQuality === 'synced' ? 4 : 0);
  bytes.writeUInt16LE(topic.length, 2);
  bytes.writeUInt32LE(Math.min(content.expiry, 0xffffffff), 4);
  bytes.writeDoubleLE(content.time, 8);
  bytes.writeDoubleLE(content.monotonic, 16);
  bytes.set(topic, contentBytes);
  bytes.set(content.payload, contentBytes + topic.length);
  return bytes;
}

export function decodeContent(id: bigint, bytes: Buffer): Content | undefined {
  if (bytes.length < contentBytes) return undefined;
  const flags = bytes.readUInt8(0);
  const topicEnd = contentBytes + bytes.readUInt16LE(2);
  if (topicEnd > bytes.length || (flags & 3) === 3) return undefined;
  return {
    id,
    qos: (flags & 3) as QoS,
    timeQuality: (flags & 4) === 0 ? 'unsynced' : 'synced',
    expiry: bytes.readUInt32LE(4),
    time: bytes.readDoubleLE(8),
    monotonic: bytes.readDoubleLE(16),
    topic: bytes.toString('utf8', contentBytes, topicEnd),
    payload: Buffer.from(bytes.subarray(topicEnd)),
  };
}
