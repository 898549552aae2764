import { isUtf8 } from 'node:buffer';
import type { Client } from 'aedes';
import { type QoS, topicNameProblem } from '../domain/index.ts';
import { headerProblem } from './packet-check.ts';
import type { PacketLimits } from './strict-parser.ts';

/** A PUBLISH of QoS 0 or 1; its payload is a piece of what was read from the socket. */
export interface PublishReceived {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly dup: boolean;
  /** 0 in a PUBLISH of QoS 0. */
  readonly messageId: number;
}

export interface PacketHandlers {
  /** Sees each packet before it is handled, by its first byte. */
  readonly packet: (first: number) => void;
  /** A PUBACK or PUBCOMP. */
  readonly acknowledged: (messageId: number) => void;
  readonly publish: (packet: PublishReceived) => void;
}

/** What is used of mqtt-packet's parser. */
interface Parser {
  readonly packet: { readonly length: number };
  readonly error: Error | null;
  readonly _list: { readonly length: number };
  readonly _stateCounter: number;
  parse: (data: Buffer) => number;
  emit(event: 'packet', packet: object): boolean;
}

interface ClientInside {
  readonly _parser: Parser;
  readonly connected: boolean;
  readonly closed: boolean;
  readonly version: number;
  /** Packets that are being handled; aedes reads on once there are none. */
  _parsingBatch: number;
  readonly _keepaliveInterval: number;
  readonly _keepaliveTimer: { refresh(): void } | null;
}

const publish = 3;
const puback = 4;
const pubrec = 5;
const pubcomp = 7;
/** A packet that is longer and not complete is gathered by mqtt-packet, bytes. */
const maxKept = 16 * 1024;
/** The state of the parser in which it knows the length of a packet that is not complete. */
const beforeEnd = 2;

/**
 * Takes the packets that come in numbers, PUBLISH and what acknowledges it, from the bytes as they are read; PUBACK, PUBCOMP
 * and PUBLISH of QoS 0 and 1 go past aedes. All else, and everything that is not in order, is for aedes's parser.
 */
export class PacketStream {
  readonly #client: ClientInside;
  readonly #maxPacket: number;
  readonly #on: PacketHandlers;
  readonly #parse: (data: Buffer) => number;
  /** The beginning of a packet that is not complete. */
  #kept: Buffer | undefined;
  /** Where the packet that was looked at ends. */
  #end = 0;

  /** Takes the place of how aedes's parser is given what was read. */
  constructor(client: Client, { maxPacket }: PacketLimits, on: PacketHandlers) {
    this.#client = client as unknown as ClientInside;
    this.#maxPacket = maxPacket;
    this.#on = on;
    const { _parser: parser } = this.#client;
    this.#parse = parser.parse.bind(parser);
    parser.parse = (data) => this.#read(data);
  }

  #read(read: Buffer): number {
    const client = this.#client;
    if (!client.connected) return this.#parse(read);
    const data = this.#kept === undefined ? read : Buffer.concat([this.#kept, read]);
    this.#kept = undefined;
    // what is answered at once must not have aedes read on in the midst of this
    client._parsingBatch += 1;
    this.#readAll(data);
    client._parsingBatch -= 1;
    return 0;
  }

  #readAll(data: Buffer): void {
    const { _parser: parser, _keepaliveInterval: interval, _keepaliveTimer: timer } = this.#client;
    let alive = interval > 0;
    for (let at = 0; at < data.length && !this.#client.closed; at = this.#end) {
      const missing = missingTo(parser);
      if (missing > 0) this.#end = Math.min(at + missing, data.length);
      else {
        const taken = this.#take(data, at);
        if (taken === 'incomplete') {
          this.#kept = Buffer.from(data.subarray(at));
          return;
        }
        if (taken === 'yes') {
          if (alive) timer?.refresh();
          alive = false;
          continue;
        }
      }
      this.#parse(data.subarray(at, this.#end));
      if (parser.error !== null) return;
    }
  }

  /** Handles the packet at `at`. `#end` is set where it is complete, and to all there is where it is not in order. */
  #take(data: Buffer, at: number): 'yes' | 'no' | 'incomplete' {
    this.#end = data.length;
    const first = data[at] ?? 0;
    if (headerProblem(first, this.#client.version) !== undefined) return 'no';
    let length = 0;
    let body = at + 1;
    for (let shift = 0; ; shift += 7) {
      const byte = data[body];
      if (byte === undefined) return 'incomplete';
      if (shift > 21) return 'no';
      body += 1;
      length |= (byte & 127) << shift;
      if (byte < 128) break;
    }
    const end = body + length;
    if (length > this.#maxPacket) return 'no';
    if (end > data.length) return length > maxKept ? 'no' : 'incomplete';
    this.#end = end;
    const type = first >> 4;
    if (type === publish) return this.#publish(data, first, body) ? 'yes' : 'no';
    if (type < puback || type > pubcomp || length !== 2) return 'no';
    const messageId = data.readUInt16BE(body);
    if (messageId === 0) return 'no';
    this.#on.packet(first);
    if (type === puback || type === pubcomp) this.#on.acknowledged(messageId);
    else this.#handOver({ cmd: type === pubrec ? 'pubrec' : 'pubrel', messageId });
    return 'yes';
  }

  #publish(data: Buffer, first: number, body: number): boolean {
    const end = this.#end;
    if (end - body < 2) return false;
    const topicAt = body + 2;
    const topicEnd = topicAt + data.readUInt16BE(body);
    const qos = ((first >> 1) & 3) as QoS;
    const payloadAt = topicEnd + (qos > 0 ? 2 : 0);
    if (payloadAt > end) return false;
    const bytes = data.subarray(topicAt, topicEnd);
    if (!isUtf8(bytes)) return false;
    const topic = bytes.toString();
    const messageId = qos > 0 ? data.readUInt16BE(topicEnd) : 0;
    if (topicNameProblem(topic) !== undefined || (qos > 0 && messageId === 0)) return false;
    const payload = data.subarray(payloadAt, end);
    this.#on.packet(first);
    const packet = { topic, payload, qos, retain: (first & 1) !== 0, dup: (first & 8) !== 0, messageId };
    if (qos < 2) this.#on.publish(packet);
    else this.#handOver({ cmd: 'publish', ...packet });
    return true;
  }

  #handOver(packet: object): void {
    this.#client._parser.emit('packet', packet);
  }
}

/** How many bytes aedes's parser lacks to the end of a packet, as far as it knows: at least. */
function missingTo({ _stateCounter: state, _list: list, packet }: Parser): number {
  if (state === beforeEnd) return packet.length - list.length;
  return state === 0 && list.length === 0 ? 0 : 1;
}
