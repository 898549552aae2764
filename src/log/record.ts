import type { Message, Origin, QoS } from '../domain/index.ts';

/** Kinds of records. A reader passes over kinds it does not know. */
export const messageKind = 1;

const origins: readonly Origin[] = ['coap', 'mqtt', 'rest', 'upstream', 'gateway'];
const fixedBytes = 20;
const connectionFlag = 64;
const connectionBytes = 8;

/** Upper bound of the bytes that `writeMessage` needs. */
export function messageBound(message: Message): number {
  const characters = message.topic.length + message.clientId.length + message.username.length + message.upstream.length;
  return fixedBytes + connectionBytes + characters * 3 + message.payload.length;
}

/** Writes the body of a message record at `at`; returns its end. `offset`: milliseconds after its chunk's time. */
export function writeMessage(into: Buffer, at: number, message: Message, offset: number): number {
  into[at] = messageKind;
  const connected = message.connection !== 0n;
  into[at + 1] =
    message.qos | (message.retain ? 4 : 0) | (origins.indexOf(message.origin) << 3) | (connected ? connectionFlag : 0);
  into.writeUInt32LE(Math.min(offset, 0xffffffff), at + 2);
  into.writeUInt32LE(Math.min(message.expiry, 0xffffffff), at + 6);
  let end = at + fixedBytes;
  if (connected) end = into.writeBigUInt64LE(message.connection, end);
  const topic = into.write(message.topic, end);
  end += topic;
  const clientId = into.write(message.clientId, end);
  end += clientId;
  const username = into.write(message.username, end);
  end += username;
  const upstream = into.write(message.upstream, end);
  end += upstream;
  into.writeUInt16LE(topic, at + 10);
  into.writeUInt16LE(clientId, at + 12);
  into.writeUInt16LE(username, at + 14);
  into.writeUInt16LE(upstream, at + 16);
  into.writeUInt16LE(0, at + 18);
  into.set(message.payload, end);
  return end + message.payload.length;
}

/** Whether the body at `at` is a message of QoS 0. */
export function isQos0(bytes: Buffer, at: number): boolean {
  return bytes[at] === messageKind && ((bytes[at + 1] as number) & 3) === 0;
}

/** A message as a record's body holds it. */
export interface MessageBody {
  readonly message: Message;
  /** Milliseconds after its chunk's time. */
  readonly offset: number;
}

/** Reads the body of a record in `bytes[at, end)`; undefined where it is of another kind or does not add up. */
export function readMessage(bytes: Buffer, at: number, end: number): MessageBody | undefined {
  if (end - at < fixedBytes || bytes[at] !== messageKind) return undefined;
  const flags = bytes[at + 1] as number;
  const origin = origins[(flags >> 3) & 7];
  const connected = (flags & connectionFlag) !== 0;
  const topicAt = at + fixedBytes + (connected ? connectionBytes : 0);
  const topicEnd = topicAt + bytes.readUInt16LE(at + 10);
  const clientEnd = topicEnd + bytes.readUInt16LE(at + 12);
  const userEnd = clientEnd + bytes.readUInt16LE(at + 14);
  const upstreamEnd = userEnd + bytes.readUInt16LE(at + 16);
  if (origin === undefined || (flags & 3) === 3 || upstreamEnd > end) return undefined;
  const text = (from: number, to: number) => (from === to ? '' : bytes.toString('utf8', from, to));
  return {
    offset: bytes.readUInt32LE(at + 2),
    message: {
      topic: text(topicAt, topicEnd),
      clientId: text(topicEnd, clientEnd),
      username: text(clientEnd, userEnd),
      upstream: text(userEnd, upstreamEnd),
      payload: bytes.subarray(upstreamEnd, end),
      qos: (flags & 3) as QoS,
      retain: (flags & 4) !== 0,
      expiry: bytes.readUInt32LE(at + 6),
      origin,
      connection: connected ? bytes.readBigUInt64LE(at + fixedBytes) : 0n,
    },
  };
}
