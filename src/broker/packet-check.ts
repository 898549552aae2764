import { isUtf8 } from 'node:buffer';
import { topicFilterProblem, topicNameProblem } from '../domain/index.ts';

/** Control packet types that a client may send, MQTT 3.1.1 §2.2.1. */
export const packetNames: Readonly<Record<number, string>> = {
  1: 'connect',
  3: 'publish',
  4: 'puback',
  5: 'pubrec',
  6: 'pubrel',
  7: 'pubcomp',
  8: 'subscribe',
  10: 'unsubscribe',
  12: 'pingreq',
  14: 'disconnect',
};

const connect = 1;
const publish = 3;
const subscribe = 8;
const unsubscribe = 10;
/** PUBREL, SUBSCRIBE, UNSUBSCRIBE: bit 1 of the flags is set. */
const flagged: readonly number[] = [6, subscribe, unsubscribe];
const withoutBody: readonly number[] = [12, 14];

/** What is wrong with the first byte of a packet. `level`: of the protocol, 0 before CONNECT. */
export function headerProblem(first: number, level: number): string | undefined {
  const type = first >> 4;
  const flags = first & 15;
  if (packetNames[type] === undefined) return `a packet of type ${type}`;
  if (level === 0 && type !== connect) return 'a packet before CONNECT';
  if (level > 0 && type === connect) return 'a second CONNECT';
  if (type === publish) {
    const qos = (flags >> 1) & 3;
    if (qos === 3) return 'PUBLISH with both QoS bits set';
    // MQTT 3.1 leaves it open
    return qos === 0 && flags >= 8 && level > 3 ? 'PUBLISH of QoS 0 with DUP' : undefined;
  }
  const expected = flagged.includes(type) ? 2 : 0;
  // MQTT 3.1 has a DUP flag there
  if (flags === expected || (expected === 2 && level === 3 && flags === 10)) return undefined;
  return `reserved flags ${flags} in ${packetNames[type]}`;
}

/** Name and level that a CONNECT begins with, as far as it is there. */
export interface ProtocolVersion {
  readonly level: number;
  /** Whether the level is one that this server speaks; else the answer is return code 1. */
  readonly acceptable: boolean;
  /** Connect flags; undefined before they are there. */
  readonly flags: number | undefined;
}

/** The protocol of a CONNECT, 'unknown' where it is none of MQTT, undefined where too little is there to tell. */
export function protocolOf(body: Buffer): ProtocolVersion | 'unknown' | undefined {
  if (body.length < 2) return undefined;
  const name = names.find((one) => one.length === body.readUInt16BE(0));
  if (name === undefined) return 'unknown';
  const end = 2 + name.length;
  if (body.length > end || body.length >= 8) {
    if (body.toString('latin1', 2, end) !== name) return 'unknown';
  }
  const level = body[end];
  if (level === undefined) return undefined;
  // bit 7: a mosquitto bridge
  const plain = level & 0x7f;
  return { level: plain, acceptable: plain === (name === 'MQTT' ? 4 : 3), flags: body[end + 1] };
}

const names = ['MQTT', 'MQIsdp'] as const;

/** What is wrong with the rest of a packet. `body`: all behind the fixed header; of a PUBLISH, its variable header will do. */
export function bodyProblem(first: number, body: Buffer): string | undefined {
  const type = first >> 4;
  const reader = new BodyReader(body);
  if (type === connect) return connectProblem(reader);
  if (type === publish) return publishProblem(reader, (first >> 1) & 3);
  if (withoutBody.includes(type)) return body.length > 0 ? `${packetNames[type]} with a body` : undefined;
  if (reader.number() < 1) return 'no packet identifier';
  if (type === subscribe || type === unsubscribe) return filtersProblem(reader, type === subscribe);
  return reader.left > 0 ? `${packetNames[type]} that is too long` : undefined;
}

function connectProblem(reader: BodyReader): string | undefined {
  reader.text();
  reader.byte();
  const flags = reader.byte();
  if (flags < 0) return 'CONNECT that is cut off';
  if ((flags & 1) !== 0) return 'CONNECT with its reserved flag set';
  const will = (flags & 4) !== 0;
  if (!will && (flags & 0x38) !== 0) return 'CONNECT with flags of a will that it does not have';
  if ((flags & 0x18) === 0x18) return 'a will of QoS 3';
  const named = (flags & 0x80) !== 0;
  const secret = (flags & 0x40) !== 0;
  if (secret && !named) return 'CONNECT with a password and no user name';
  reader.number();
  const clientId = reader.text();
  if (clientId === undefined) return 'invalid client id';
  if (will) {
    const topic = reader.text();
    if (topic === undefined || topicNameProblem(topic) !== undefined) return 'invalid will topic';
    if (!reader.bytes()) return 'CONNECT that is cut off';
  }
  if (named && reader.text() === undefined) return 'invalid user name';
  if (secret && !reader.bytes()) return 'CONNECT that is cut off';
  return reader.left === 0 ? undefined : 'CONNECT that is too long';
}

function publishProblem(reader: BodyReader, qos: number): string | undefined {
  const topic = reader.text();
  if (topic === undefined) return 'invalid topic: not UTF-8 without U+0000';
  const problem = topicNameProblem(topic);
  if (problem !== undefined) return `invalid topic: ${problem}`;
  return qos > 0 && reader.number() < 1 ? 'PUBLISH without a packet identifier' : undefined;
}

function filtersProblem(reader: BodyReader, withQos: boolean): string | undefined {
  if (reader.left === 0) return 'no topic filter';
  while (reader.left > 0) {
    const filter = reader.text();
    if (filter === undefined) return 'invalid topic filter: not UTF-8 without U+0000';
    const problem = topicFilterProblem(filter);
    if (problem !== undefined) return `invalid topic filter: ${problem}`;
    if (!withQos) continue;
    const qos = reader.byte();
    if (qos < 0 || qos > 2) return 'invalid QoS in SUBSCRIBE';
  }
  return undefined;
}

/** Reads the fields of a packet, MQTT 3.1.1 §1.5; what is not there reads as -1, undefined or false. */
class BodyReader {
  readonly #body: Buffer;
  #at = 0;

  constructor(body: Buffer) {
    this.#body = body;
  }

  get left(): number {
    return this.#body.length - this.#at;
  }

  byte(): number {
    const at = this.#at;
    this.#at += 1;
    return this.#body[at] ?? -1;
  }

  number(): number {
    const high = this.byte();
    const low = this.byte();
    return high < 0 || low < 0 ? -1 : high * 256 + low;
  }

  bytes(): boolean {
    const length = this.number();
    if (length < 0 || length > this.left) return false;
    this.#at += length;
    return true;
  }

  text(): string | undefined {
    const from = this.#at + 2;
    if (!this.bytes()) return undefined;
    const text = this.#body.subarray(from, this.#at);
    return isUtf8(text) && !text.includes(0) ? text.toString() : undefined;
  }
}
