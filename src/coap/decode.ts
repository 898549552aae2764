/** Message types, RFC 7252 §3. */
export const types = { con: 0, non: 1, ack: 2, rst: 3 } as const;

/** A datagram that is a CoAP message. Options are offsets into it, so that none costs an allocation. */
export class Message {
  readonly problem = undefined;
  readonly datagram: Buffer;
  /** 0 CON, 1 NON, 2 ACK, 3 RST. */
  readonly type: number;
  readonly code: number;
  readonly messageId: number;
  readonly tokenLength: number;
  /** Triplets: option number, start and end of its value in `datagram`; in the order of the wire. */
  readonly options: readonly number[];
  /** Where the payload starts; the datagram's length if there is none. */
  readonly payloadStart: number;

  constructor(
    datagram: Buffer,
    type: number,
    code: number,
    messageId: number,
    tokenLength: number,
    options: readonly number[],
    payloadStart: number,
  ) {
    this.datagram = datagram;
    this.type = type;
    this.code = code;
    this.messageId = messageId;
    this.tokenLength = tokenLength;
    this.options = options;
    this.payloadStart = payloadStart;
  }

  /** A view of the datagram. */
  get token(): Buffer {
    return this.datagram.subarray(4, 4 + this.tokenLength);
  }

  /** A view of the datagram. */
  get payload(): Buffer {
    return this.datagram.subarray(this.payloadStart);
  }
}

/**
 * A datagram that is none. `runt`: under 4 bytes; `version`: not CoAP 1, to be ignored (RFC 7252 §3);
 * `format`: answered with RST if it is CON (§4.2), for which type and message id are here.
 */
export interface Malformed {
  readonly problem: 'runt' | 'version' | 'format';
  readonly type: number;
  readonly messageId: number;
}

const noOptions: readonly number[] = [];
const runt: Malformed = { problem: 'runt', type: types.non, messageId: 0 };
const otherVersion: Malformed = { problem: 'version', type: types.non, messageId: 0 };

/** Parses a datagram, RFC 7252 §3. Never throws; the result refers to `datagram`. */
export function decode(datagram: Buffer): Message | Malformed {
  const end = datagram.length;
  if (end < 4) return runt;
  const first = datagram[0] as number;
  if (first >> 6 !== 1) return otherVersion;
  const type = (first >> 4) & 3;
  const code = datagram[1] as number;
  const messageId = ((datagram[2] as number) << 8) | (datagram[3] as number);
  const tokenLength = first & 15;
  const group = code >> 5;
  const optionsStart = 4 + tokenLength;
  if (tokenLength > 8 || optionsStart > end) return malformed(type, messageId);
  if (group === 1 || group >= 6) return malformed(type, messageId); // reserved classes, §3
  if (code === 0 && end > 4) return malformed(type, messageId); // §4.1
  if (optionsStart === end) return new Message(datagram, type, code, messageId, tokenLength, noOptions, end);
  const options: number[] = [];
  const payloadStart = readOptions(datagram, optionsStart, options);
  if (payloadStart === -1) return malformed(type, messageId);
  return new Message(datagram, type, code, messageId, tokenLength, options, payloadStart);
}

function malformed(type: number, messageId: number): Malformed {
  return { problem: 'format', type, messageId };
}

/** Appends triplets to `options`, RFC 7252 §3.1; the payload's start, or -1 for a format error. */
function readOptions(bytes: Buffer, start: number, options: number[]): number {
  const end = bytes.length;
  let at = start;
  let number = 0;
  while (at < end) {
    const byte = bytes[at++] as number;
    if (byte === 0xff) return at === end ? -1 : at;
    let delta = byte >> 4;
    let length = byte & 15;
    if (delta === 13) {
      if (at + 1 > end) return -1;
      delta = (bytes[at++] as number) + 13;
    } else if (delta === 14) {
      if (at + 2 > end) return -1;
      delta = (((bytes[at] as number) << 8) | (bytes[at + 1] as number)) + 269;
      at += 2;
    } else if (delta === 15) return -1;
    if (length === 13) {
      if (at + 1 > end) return -1;
      length = (bytes[at++] as number) + 13;
    } else if (length === 14) {
      if (at + 2 > end) return -1;
      length = (((bytes[at] as number) << 8) | (bytes[at + 1] as number)) + 269;
      at += 2;
    } else if (length === 15) return -1;
    number += delta;
    if (number > 0xffff || at + length > end) return -1;
    options.push(number, at, at + length);
    at += length;
  }
  return end;
}

/** An unsigned integer option value, RFC 7252 §3.2; at most 4 bytes. */
export function uintAt(bytes: Uint8Array, start: number, end: number): number {
  let value = 0;
  for (let at = start; at < end; at++) value = value * 256 + (bytes[at] as number);
  return value;
}
