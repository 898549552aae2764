import type { Client } from 'aedes';
import { bodyProblem, headerProblem, packetNames, protocolOf } from './packet-check.ts';
import type { SubscribePacket } from './repeated-filters.ts';

/** Bounds of the packets of one connection, bytes. */
export interface PacketLimits {
  /** After login. */
  readonly maxPacket: number;
  /** Of a CONNECT with a will; one without has `maxLogin`. */
  readonly maxConnect: number;
}

/** Client id, user name, and a password or token. */
export const maxLogin = 8 * 1024;

/** What is used of mqtt-packet's parser: its steps, each false until enough is there. */
interface Parser {
  readonly packet: {
    cmd?: string;
    retain: boolean;
    qos: number;
    dup: boolean;
    readonly length: number;
  } & Partial<SubscribePacket>;
  readonly _list: {
    readonly length: number;
    readUInt8(at: number): number;
    slice(from: number, to: number): Buffer;
    consume(bytes: number): void;
  };
  _parseHeader(): boolean;
  _parseLength(): boolean;
  _parsePayload(): boolean;
  emit(event: 'error', error: Error): boolean;
  error: Error | null;
}

/** CONNACK, return code 1: also what an MQTT 5 client expects of a server of 3.1.1. */
const unacceptable = Buffer.from([0x20, 2, 0, 1]);

/**
 * Has aedes's parser refuse what MQTT 3.1.1 has a server refuse (§4.8), and a packet above the limit before a byte of it is
 * gathered. The connection ends; a will is published. `on` sees packets before aedes does, by
 * their first byte.
 */
export function makeStrict(
  client: Client,
  { maxPacket, maxConnect }: PacketLimits,
  on: { readonly packet: (first: number) => void; readonly subscribe: (packet: SubscribePacket) => void },
): void {
  const parser = (client as unknown as { _parser: Parser })._parser;
  const parseLength = parser._parseLength.bind(parser);
  const parsePayload = parser._parsePayload.bind(parser);
  let first = 0;
  let level = 0;
  let refused = false;

  const refuse = (problem: string): false => {
    parser.error = new Error(problem);
    parser.emit('error', parser.error);
    return false;
  };

  parser._parseHeader = () => {
    if (refused) return false;
    first = parser._list.readUInt8(0);
    const problem = headerProblem(first, level);
    if (problem !== undefined) return refuse(problem);
    const { packet } = parser;
    const cmd = packetNames[first >> 4];
    if (cmd !== undefined) packet.cmd = cmd;
    packet.dup = (first & 8) !== 0;
    packet.qos = (first >> 1) & 3;
    packet.retain = (first & 1) !== 0;
    parser._list.consume(1);
    return true;
  };

  parser._parseLength = () => {
    if (!parseLength()) return false;
    const { length } = parser.packet;
    const max = level === 0 ? maxConnect : maxPacket;
    return length > max ? refuse(`a packet of ${length} bytes, limit ${max}`) : true;
  };

  parser._parsePayload = () => {
    if (refused) return false;
    const { length } = parser.packet;
    const { _list: list } = parser;
    const complete = list.length >= length;
    if (level === 0) {
      const protocol = protocolOf(list.slice(0, Math.min(length, list.length, 10)));
      if (protocol === 'unknown') return refuse('not MQTT');
      if (protocol?.acceptable === false) {
        refused = true;
        client.conn.end(unacceptable, () => refuse(`protocol level ${protocol.level}`));
        return false;
      }
      const hasWill = protocol?.flags === undefined || (protocol.flags & 4) !== 0;
      if (!hasWill && length > maxLogin) return refuse(`a CONNECT of ${length} bytes, limit ${maxLogin}`);
      if (!complete) return false;
      if (protocol === undefined) return refuse('CONNECT that is cut off');
      const problem = bodyProblem(first, list.slice(0, length));
      if (problem !== undefined) return refuse(problem);
      level = protocol.level;
      on.packet(first);
      return parsePayload();
    }
    if (!complete) return false;
    const problem = bodyProblem(first, list.slice(0, checkedLength(first, list, length)));
    if (problem !== undefined) return refuse(problem);
    on.packet(first);
    const parsed = parsePayload();
    const { subscriptions } = parser.packet;
    if (subscriptions !== undefined) on.subscribe(Object.assign(parser.packet, { subscriptions }));
    return parsed;
  };
}

/** How much of a packet is to be looked at: not the payload of a PUBLISH. */
function checkedLength(first: number, list: Parser['_list'], length: number): number {
  if (first >> 4 !== 3 || length < 2) return length;
  return Math.min(length, 2 + list.readUInt8(0) * 256 + list.readUInt8(1) + 2);
}
