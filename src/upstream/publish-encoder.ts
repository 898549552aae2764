import type { Outgoing, PacketProperties } from './link.ts';

const userProperty = 0x26;
const messageExpiryInterval = 0x02;

/** Bytes of a whole PUBLISH, MQTT 5 §3.3 (`five`) or 3.1.1 §3.3. */
export function publishLength(packet: Outgoing, five: boolean): number {
  const rest = remainingLength(
    packet,
    Buffer.byteLength(packet.topic),
    five ? propertiesLength(packet.properties) : -1,
  );
  return 1 + variableLength(rest) + rest;
}

/**
 * A PUBLISH as one buffer. mqtt-packet writes a packet with four user properties in some thirty pieces, which is most
 * of what sending it costs. `packetId` counts from QoS 1 on.
 */
export function encodePublish(packet: Outgoing, packetId: number, five: boolean): Buffer {
  const { topic, payload, qos, retain, properties } = packet;
  const topicBytes = Buffer.byteLength(topic);
  const propertyBytes = five ? propertiesLength(properties) : -1;
  const rest = remainingLength(packet, topicBytes, propertyBytes);
  const bytes = Buffer.allocUnsafe(1 + variableLength(rest) + rest);
  bytes[0] = 0x30 | (qos << 1) | (retain ? 1 : 0);
  let at = writeVariable(bytes, 1, rest);
  at = writeText(bytes, at, topic, topicBytes);
  if (qos > 0) at = bytes.writeUInt16BE(packetId, at);
  if (propertyBytes >= 0) {
    at = writeVariable(bytes, at, propertyBytes);
    if (properties !== undefined) at = writeProperties(bytes, at, properties);
  }
  bytes.set(payload, at);
  return bytes;
}

/** `propertyBytes` is -1 where the protocol has no properties. */
function remainingLength(packet: Outgoing, topicBytes: number, propertyBytes: number): number {
  const properties = propertyBytes < 0 ? 0 : variableLength(propertyBytes) + propertyBytes;
  return 2 + topicBytes + (packet.qos > 0 ? 2 : 0) + properties + packet.payload.length;
}

function propertiesLength(properties: PacketProperties | undefined): number {
  if (properties === undefined) return 0;
  let length = properties.messageExpiryInterval === undefined ? 0 : 5;
  const user = properties.userProperties;
  for (const key in user) length += 5 + Buffer.byteLength(key) + Buffer.byteLength(user[key] ?? '');
  return length;
}

function writeProperties(bytes: Buffer, start: number, properties: PacketProperties): number {
  let at = start;
  if (properties.messageExpiryInterval !== undefined) {
    bytes[at] = messageExpiryInterval;
    at = bytes.writeUInt32BE(properties.messageExpiryInterval, at + 1);
  }
  const user = properties.userProperties;
  for (const key in user) {
    const value = user[key] ?? '';
    bytes[at] = userProperty;
    at = writeText(bytes, at + 1, key, Buffer.byteLength(key));
    at = writeText(bytes, at, value, Buffer.byteLength(value));
  }
  return at;
}

function writeText(bytes: Buffer, at: number, text: string, length: number): number {
  bytes[at] = length >> 8;
  bytes[at + 1] = length & 0xff;
  bytes.write(text, at + 2, length === text.length ? 'latin1' : 'utf8');
  return at + 2 + length;
}

function variableLength(value: number): number {
  if (value < 128) return 1;
  if (value < 16_384) return 2;
  return value < 2_097_152 ? 3 : 4;
}

function writeVariable(bytes: Buffer, start: number, value: number): number {
  let at = start;
  let left = value;
  for (; left >= 128; left >>= 7) bytes[at++] = (left & 0x7f) | 0x80;
  bytes[at++] = left;
  return at;
}
