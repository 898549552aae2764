import type { types } from './decode.ts';

/** A message to be written; options in any order, values as on the wire. */
export interface MessageParts {
  /** 0 CON, 1 NON, 2 ACK, 3 RST. */
  readonly type: number;
  readonly code: number;
  readonly messageId: number;
  readonly token?: Uint8Array;
  /** A number is an unsigned integer of 32 bits at most (RFC 7252 §3.2). */
  readonly options?: readonly (readonly [number: number, value: Uint8Array | number])[];
  readonly payload?: Uint8Array;
}

/** Writes messages into one buffer of its own and hands out copies. Options in ascending order of their numbers. */
export class MessageWriter {
  #buffer = Buffer.allocUnsafeSlow(2_048);
  #at = 0;
  #number = 0;

  /** The token is `tokenSource[tokenStart, tokenEnd)`. */
  begin(
    type: number,
    code: number,
    messageId: number,
    tokenSource: Uint8Array,
    tokenStart = 0,
    tokenEnd = tokenSource.length,
  ): void {
    const buffer = this.#buffer;
    buffer[0] = 0x40 | (type << 4) | (tokenEnd - tokenStart);
    buffer[1] = code;
    buffer[2] = messageId >> 8;
    buffer[3] = messageId;
    let at = 4;
    for (let from = tokenStart; from < tokenEnd; from++) buffer[at++] = tokenSource[from] as number;
    this.#at = at;
    this.#number = 0;
  }

  /** An option with an unsigned integer below 2^32, in the fewest bytes (RFC 7252 §3.2). */
  uint(number: number, value: number): void {
    const length = value === 0 ? 0 : value < 0x100 ? 1 : value < 0x1_0000 ? 2 : value < 0x100_0000 ? 3 : 4;
    this.#header(number, length);
    for (let shift = (length - 1) * 8; shift >= 0; shift -= 8) this.#buffer[this.#at++] = value >>> shift;
  }

  bytes(number: number, value: Uint8Array): void {
    this.#header(number, value.length);
    this.#buffer.set(value, this.#at);
    this.#at += value.length;
  }

  /** The message, with `payload` unless that is empty, in a buffer of its own. */
  finish(payload?: Uint8Array): Buffer {
    const extra = payload === undefined || payload.length === 0 ? 0 : payload.length + 1;
    const datagram = Buffer.allocUnsafe(this.#at + extra);
    this.#buffer.copy(datagram, 0, 0, this.#at);
    if (payload !== undefined && extra > 0) {
      datagram[this.#at] = 0xff;
      datagram.set(payload, this.#at + 1);
    }
    return datagram;
  }

  #header(number: number, length: number): void {
    this.#reserve(length + 5);
    const delta = number - this.#number;
    this.#number = number;
    const buffer = this.#buffer;
    const first = this.#at++;
    buffer[first] = (nibble(delta) << 4) | nibble(length);
    this.#at = extended(buffer, this.#at, delta);
    this.#at = extended(buffer, this.#at, length);
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(2 * (this.#at + bytes));
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
  }
}

function nibble(value: number): number {
  return value < 13 ? value : value < 269 ? 13 : 14;
}

function extended(buffer: Buffer, at: number, value: number): number {
  if (value < 13) return at;
  if (value < 269) {
    buffer[at] = value - 13;
    return at + 1;
  }
  buffer[at] = (value - 269) >> 8;
  buffer[at + 1] = value - 269;
  return at + 2;
}

const writer = new MessageWriter();
const noToken = new Uint8Array(0);

/** The datagram of a message. The caller answers for sizes: token 0 to 8 bytes, option values below 65,804. */
export function encode(parts: MessageParts): Buffer {
  writer.begin(parts.type, parts.code, parts.messageId, parts.token ?? noToken);
  const options = [...(parts.options ?? [])].sort(([a], [b]) => a - b);
  for (const [number, value] of options) {
    if (typeof value === 'number') writer.uint(number, value);
    else writer.bytes(number, value);
  }
  return writer.finish(parts.payload);
}

/** An empty ACK or RST, RFC 7252 §4.1. */
export function encodeEmpty(type: typeof types.ack | typeof types.rst, messageId: number): Buffer {
  const datagram = Buffer.allocUnsafe(4);
  datagram[0] = 0x40 | (type << 4);
  datagram[1] = 0;
  datagram[2] = messageId >> 8;
  datagram[3] = messageId;
  return datagram;
}
