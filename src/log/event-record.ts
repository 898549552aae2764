import type {
  Connected,
  ConnectionFacts,
  Delivered,
  Disconnected,
  EndReason,
  GatewayEvent,
  Network,
  QoS,
} from '../domain/index.ts';

/** Kinds of records that are events; see `record.ts` for that of a message. */
const connectedKind = 2;
const disconnectedKind = 3;
const deliveredKind = 4;

const networks: readonly Network[] = ['tcp', 'ssl', 'ws', 'wss', 'coap', 'coaps'];
/** On disk by their places: new ones at the end. */
const reasons: readonly EndReason[] = [
  'normal',
  'keepalive_timeout',
  'taken_over',
  'kicked',
  'socket_error',
  'protocol_error',
  'not_authorized',
  'server_shutdown',
];
const deliveryBytes = 14;
const connectionBytes = 25;

/** Upper bound of the bytes that `writeEvent` needs. */
export function eventBound(event: GatewayEvent): number {
  if (event.kind === 'delivered') return deliveryBytes + event.clientId.length * 3;
  const { clientId, username, address, will } = event;
  return connectionBytes + (clientId.length + username.length + address.length + (will?.topic.length ?? 0)) * 3;
}

/** Writes the body of an event's record at `at`; returns its end. `offset`: milliseconds after its chunk's time. */
export function writeEvent(into: Buffer, at: number, event: GatewayEvent, offset: number): number {
  into.writeUInt32LE(Math.min(offset, 0xffffffff), at + 2);
  if (event.kind === 'delivered') {
    into[at] = deliveredKind;
    into[at + 1] = event.qos;
    into.writeBigUInt64LE(event.message, at + 6);
    return at + deliveryBytes + into.write(event.clientId, at + deliveryBytes);
  }
  const { will } = event;
  into[at] = event.kind === 'connected' ? connectedKind : disconnectedKind;
  into[at + 1] = (event.clean ? 1 : 0) | (will === undefined ? 0 : 2 | (will.retain ? 4 : 0) | (will.qos << 3));
  into.writeBigUInt64LE(event.connection, at + 6);
  into[at + 14] = event.version;
  into[at + 15] = reasons.indexOf(event.reason);
  into[at + 16] = networks.indexOf(event.network);
  into.writeUInt16LE(Math.min(Math.round(event.keepalive), 0xffff), at + 17);
  let end = at + connectionBytes;
  for (const [place, text] of [event.clientId, event.username, event.address].entries()) {
    const length = into.write(text, end);
    into.writeUInt16LE(length, at + 19 + place * 2);
    end += length;
  }
  return end + (will === undefined ? 0 : into.write(will.topic, end));
}

/** Reads the body of a record in `bytes[at, end)`; undefined where it is of another kind or does not add up. */
export function readEvent(bytes: Buffer, at: number, end: number): { event: GatewayEvent; offset: number } | undefined {
  if (end - at < deliveryBytes) return undefined;
  const offset = bytes.readUInt32LE(at + 2);
  if (bytes[at] === deliveredKind) {
    const event: Delivered = {
      kind: 'delivered',
      message: bytes.readBigUInt64LE(at + 6),
      clientId: bytes.toString('utf8', at + deliveryBytes, end),
      qos: ((bytes[at + 1] as number) & 3) as QoS,
    };
    return { event, offset };
  }
  const event = readConnection(bytes, at, end);
  return event === undefined ? undefined : { event, offset };
}

function readConnection(bytes: Buffer, at: number, end: number): Connected | Disconnected | undefined {
  if (end - at < connectionBytes) return undefined;
  const flags = bytes[at + 1] as number;
  const reason = reasons[bytes[at + 15] as number];
  const network = networks[bytes[at + 16] as number];
  const clientEnd = at + connectionBytes + bytes.readUInt16LE(at + 19);
  const userEnd = clientEnd + bytes.readUInt16LE(at + 21);
  const addressEnd = userEnd + bytes.readUInt16LE(at + 23);
  if (reason === undefined || network === undefined || addressEnd > end) return undefined;
  const facts: ConnectionFacts = {
    connection: bytes.readBigUInt64LE(at + 6),
    clientId: bytes.toString('utf8', at + connectionBytes, clientEnd),
    username: bytes.toString('utf8', clientEnd, userEnd),
    network,
    address: bytes.toString('utf8', userEnd, addressEnd),
    version: bytes[at + 14] as number,
    keepalive: bytes.readUInt16LE(at + 17),
    clean: (flags & 1) !== 0,
    will:
      (flags & 2) === 0
        ? undefined
        : {
            topic: bytes.toString('utf8', addressEnd, end),
            qos: ((flags >> 3) & 3) as QoS,
            retain: (flags & 4) !== 0,
          },
  };
  if (bytes[at] === disconnectedKind) return { kind: 'disconnected', ...facts, reason };
  if (bytes[at] !== connectedKind) return undefined;
  return { kind: 'connected', ...facts, reason: reason === 'not_authorized' ? reason : 'normal' };
}
