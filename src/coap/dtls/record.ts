import { contentTypes, recordHeader } from './protocol.ts';

/** One record of a datagram, as it lies there. */
export interface DtlsRecord {
  readonly type: number;
  readonly version: number;
  readonly epoch: number;
  /** Below 2^48. */
  readonly sequence: number;
  /** Only with type `connectionId`: ours, as the peer wrote it. */
  readonly connectionId: Buffer | undefined;
  readonly fragment: Buffer;
  /** Where the next record begins. */
  readonly end: number;
}

/** RFC 6347 §4.1: 2^14 of plaintext, and what a cipher may add. */
export const maxFragment = 16_384 + 2_048;
export const maxPlaintext = 16_384;

/**
 * The record at `at`; undefined where the rest is none, which ends the datagram: nothing tells where a next one would be.
 * `connectionIdLength`: that of the ids that the receiver gave out.
 */
export function parseRecord(datagram: Buffer, at: number, connectionIdLength: number): DtlsRecord | undefined {
  if (datagram.length < at + recordHeader) return undefined;
  const type = datagram.readUInt8(at);
  if (type < contentTypes.changeCipherSpec || type > contentTypes.connectionId || type === 24) return undefined;
  const extra = type === contentTypes.connectionId ? connectionIdLength : 0;
  const body = at + recordHeader + extra;
  if (datagram.length < body) return undefined;
  const length = datagram.readUInt16BE(body - 2);
  if (length > maxFragment || datagram.length < body + length) return undefined;
  return {
    type,
    version: datagram.readUInt16BE(at + 1),
    epoch: datagram.readUInt16BE(at + 3),
    sequence: datagram.readUIntBE(at + 5, 6),
    connectionId: extra === 0 ? undefined : datagram.subarray(at + 11, at + 11 + extra),
    fragment: datagram.subarray(body, body + length),
    end: body + length,
  };
}

/** A record without protection: epoch 0. */
export function plainRecord(type: number, version: number, sequence: number, fragment: Uint8Array): Buffer {
  const record = Buffer.alloc(recordHeader + fragment.length);
  writeHeader(record, type, version, 0, sequence);
  record.writeUInt16BE(fragment.length, 11);
  record.set(fragment, recordHeader);
  return record;
}

/** All but the length, which stands behind a connection id where there is one. */
export function writeHeader(record: Buffer, type: number, version: number, epoch: number, sequence: number): void {
  record.writeUInt8(type, 0);
  record.writeUInt16BE(version, 1);
  record.writeUInt16BE(epoch, 3);
  record.writeUIntBE(sequence, 5, 6);
}
