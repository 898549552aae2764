import type { QoS } from '../domain/index.ts';

/** A payload above this is not copied for each subscriber, bytes. */
const maxJoined = 8 * 1024;
const publish = 0x30;
const dupFlag = 8;
const retainFlag = 1;

/** What of a PUBLISH differs from one subscriber to the next. */
export interface PublishForm {
  readonly qos: QoS;
  readonly dup: boolean;
  readonly retain: boolean;
}

/** A PUBLISH for any number of subscribers: put together once for each first byte, all but the packet identifier. */
export class PublishPacket {
  readonly topic: string;
  readonly payload: Uint8Array;
  /** Of the message; undefined for what the gateway says of itself. */
  readonly id: bigint | undefined;
  /** What is to be sent behind `head`; undefined where that has the payload. */
  readonly tail: Uint8Array | undefined;
  readonly #topicBytes: number;
  /** By flags. */
  readonly #heads: (Buffer | undefined)[] = [];

  constructor(topic: string, payload: Uint8Array, id?: bigint) {
    this.topic = topic;
    this.payload = payload;
    this.id = id;
    this.tail = payload.length > maxJoined ? payload : undefined;
    this.#topicBytes = Buffer.byteLength(topic);
  }

  /** The packet with identifier 0, not to be changed; `identifierAt` says where that is. */
  head({ qos, dup, retain }: PublishForm): Buffer {
    const flags = (dup ? dupFlag : 0) | (qos << 1) | (retain ? retainFlag : 0);
    let head = this.#heads[flags];
    if (head === undefined) {
      head = this.#encode(publish | flags, qos > 0);
      this.#heads[flags] = head;
    }
    return head;
  }

  /** Where the packet identifier is in a `head` of QoS 1 or 2. */
  identifierAt(head: Buffer): number {
    return head.length - 2 - (this.tail === undefined ? this.payload.length : 0);
  }

  #encode(first: number, identified: boolean): Buffer {
    const length = 2 + this.#topicBytes + (identified ? 2 : 0) + this.payload.length;
    const lengthBytes = length < 128 ? 1 : length < 16_384 ? 2 : length < 2_097_152 ? 3 : 4;
    const joined = this.tail === undefined ? this.payload.length : 0;
    const head = Buffer.allocUnsafe(1 + lengthBytes + length - this.payload.length + joined);
    head[0] = first;
    let left = length;
    for (let at = 1; at <= lengthBytes; at++) {
      head[at] = (left & 127) | (at < lengthBytes ? 128 : 0);
      left >>= 7;
    }
    const topicAt = head.writeUInt16BE(this.#topicBytes, 1 + lengthBytes);
    head.write(this.topic, topicAt);
    if (identified) head.writeUInt16BE(0, topicAt + this.#topicBytes);
    if (joined > 0) head.set(this.payload, head.length - joined);
    return head;
  }
}
