import { type HandshakeMessage, writeFragment } from './fragments.ts';
import type { RecordProtection } from './protection.ts';
import { contentTypes, handshakeHeader, recordHeader, versions } from './protocol.ts';
import { plainRecord } from './record.ts';

/** The sequence numbers that come next, of both epochs. */
export interface Sequences {
  plain: number;
  sealed: number;
}

/** One step of a flight: a message of epoch 0, the ChangeCipherSpec, or a message of epoch 1. */
export type FlightItem =
  | { readonly kind: 'plain'; readonly message: HandshakeMessage }
  | { readonly kind: 'change_cipher_spec' }
  | { readonly kind: 'sealed'; readonly message: HandshakeMessage };

/** What a cipher adds to a record at most, and the inner type beside a connection id. */
const sealing = 8 + 16 + 1;
const minFragment = 16;

/**
 * The datagrams of a flight. Each time it is sent its records have fresh numbers, and its messages the same ones
 * (RFC 6347 §4.2.4); messages are cut so that no datagram is larger than `maxDatagram`.
 */
export function renderFlight(
  items: readonly FlightItem[],
  sequences: Sequences,
  maxDatagram: number,
  sealed: { readonly protection: RecordProtection | undefined; readonly connectionId: Buffer | undefined },
): Buffer[] {
  const records: Buffer[] = [];
  for (const item of items) {
    if (item.kind === 'change_cipher_spec') {
      records.push(plainRecord(contentTypes.changeCipherSpec, versions.dtls12, sequences.plain++, Buffer.from([1])));
      continue;
    }
    const cover = item.kind === 'sealed' ? sealing + (sealed.connectionId?.length ?? 0) : 0;
    const room = Math.max(minFragment, maxDatagram - recordHeader - handshakeHeader - cover);
    const { length } = item.message.body;
    for (let at = 0; at === 0 || at < length; at += room) {
      const fragment = writeFragment(item.message, at, Math.min(room, length - at));
      if (item.kind === 'plain') {
        records.push(plainRecord(contentTypes.handshake, versions.dtls12, sequences.plain++, fragment));
      } else if (sealed.protection !== undefined) {
        const { protection, connectionId } = sealed;
        records.push(protection.seal(contentTypes.handshake, 1, sequences.sealed++, fragment, connectionId));
      }
    }
  }
  return packed(records, maxDatagram);
}

function packed(records: readonly Buffer[], maxDatagram: number): Buffer[] {
  const datagrams: Buffer[] = [];
  let current: Buffer[] = [];
  let size = 0;
  for (const record of records) {
    if (size > 0 && size + record.length > maxDatagram) {
      datagrams.push(Buffer.concat(current));
      current = [];
      size = 0;
    }
    current.push(record);
    size += record.length;
  }
  if (size > 0) datagrams.push(Buffer.concat(current));
  return datagrams;
}
