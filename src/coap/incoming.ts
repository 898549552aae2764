import { createHash } from 'node:crypto';
import { type Block, blockOf } from './block.ts';
import { codes } from './codes.ts';
import { type Message, types, uintAt } from './decode.ts';
import type { Exchange } from './exchanges.ts';
import type { CoapRequest } from './message-layer.ts';
import { isCritical, optionNumbers } from './option-numbers.ts';
import type { Peer } from './peers.ts';

/** More Uri-Path and Uri-Query options than any honest request has. */
const maxTexts = 256;

/** Characters of a resource's key; the key of a longer URI is a digest, for keys are kept. */
const longestKey = 192;

const none: readonly never[] = [];

/** A request message with its options understood. `payload` is the message's, until the body is whole. */
export class Incoming implements CoapRequest {
  readonly message: Message;
  readonly endpoint: Peer;
  path: string[] | readonly never[] = none;
  query: string[] | readonly never[] = none;
  etags: Buffer[] | readonly never[] = none;
  badText = false;
  observe: number | undefined = undefined;
  contentFormat: number | undefined = undefined;
  accept: number | undefined = undefined;
  block1: Block | undefined = undefined;
  block2: Block | undefined = undefined;
  size1: number | undefined = undefined;
  payload: Buffer;
  /** While the handler's answer is due. */
  exchange: Exchange | undefined = undefined;

  constructor(message: Message, peer: Peer) {
    this.message = message;
    this.endpoint = peer;
    this.payload = message.payload;
  }

  get confirmable(): boolean {
    return this.message.type === types.con;
  }

  get method(): number {
    return this.message.code;
  }

  get token(): Buffer {
    return this.message.token;
  }

  /** Identifies the resource at this peer: method, URI options and, where it matters, Request-Tag (RFC 9175 §3.3). */
  resource(withTag = false): string {
    const { datagram, options, code } = this.message;
    let key = `${this.endpoint.key} ${code}`;
    for (let at = 0; at < options.length; at += 3) {
      const number = options[at] as number;
      if (!isUri(number) && !(withTag && number === optionNumbers.requestTag)) continue;
      const start = options[at + 1] as number;
      const end = options[at + 2] as number;
      key += ` ${number}:${end - start}:${datagram.toString('latin1', start, end)}`;
    }
    return key.length <= longestKey ? key : createHash('sha256').update(key).digest('base64');
  }
}

/**
 * Reads the options of a request, RFC 7252 §5.4 and §5.10; the code to refuse it with, or 0.
 * A critical option that is unknown, repeated, or of a wrong length (§5.4.1, §5.4.3, §5.4.5) is 4.02; an elective one
 * is ignored. If-Match and If-None-Match are 4.12: no resource here can promise what they ask for.
 */
export function readOptions(request: Incoming): number {
  const { datagram, options } = request.message;
  let last = -1;
  for (let at = 0; at < options.length; at += 3) {
    const number = options[at] as number;
    const start = options[at + 1] as number;
    const refusal = readOption(request, datagram, number, start, options[at + 2] as number, number === last);
    if (refusal !== 0) return refusal;
    last = number;
  }
  return 0;
}

function readOption(
  request: Incoming,
  datagram: Buffer,
  number: number,
  start: number,
  end: number,
  again: boolean,
): number {
  const length = end - start;
  switch (number) {
    case optionNumbers.uriPath:
      if (length > 255) return codes.badOption;
      if (request.path === none) request.path = [];
      return addText(request, request.path as string[], datagram, start, end);
    case optionNumbers.uriQuery:
      if (length > 255) return codes.badOption;
      if (request.query === none) request.query = [];
      return addText(request, request.query as string[], datagram, start, end);
    case optionNumbers.observe:
      if (!again && length <= 3) request.observe = uintAt(datagram, start, end);
      return 0;
    case optionNumbers.contentFormat:
      if (!again && length <= 2) request.contentFormat = uintAt(datagram, start, end);
      return 0;
    case optionNumbers.accept:
      if (again || length > 2) return codes.badOption;
      request.accept = uintAt(datagram, start, end);
      return 0;
    case optionNumbers.uriHost:
      return again || length === 0 || length > 255 ? codes.badOption : 0;
    case optionNumbers.uriPort:
      return again || length > 2 ? codes.badOption : 0;
    case optionNumbers.etag:
      if (length === 0 || length > 8 || request.etags.length >= 16) return 0;
      if (request.etags === none) request.etags = [];
      (request.etags as Buffer[]).push(datagram.subarray(start, end));
      return 0;
    case optionNumbers.block1:
    case optionNumbers.block2: {
      if (again) return codes.badOption;
      const block = length > 3 ? undefined : blockOf(uintAt(datagram, start, end));
      if (block === undefined) return codes.badRequest;
      if (number === optionNumbers.block1) request.block1 = block;
      else request.block2 = block;
      return 0;
    }
    case optionNumbers.size1:
      if (!again && length <= 4) request.size1 = uintAt(datagram, start, end);
      return 0;
    case optionNumbers.ifMatch:
      return length > 8 ? codes.badOption : codes.preconditionFailed;
    case optionNumbers.ifNoneMatch:
      return length > 0 || again ? codes.badOption : codes.preconditionFailed;
    case optionNumbers.proxyUri:
    case optionNumbers.proxyScheme:
      return codes.proxyingNotSupported;
    default:
      return isCritical(number) ? codes.badOption : 0;
  }
}

function addText(request: Incoming, texts: string[], datagram: Buffer, start: number, end: number): number {
  if (texts.length >= maxTexts) return codes.badRequest;
  for (let at = start; at < end; at++) {
    if ((datagram[at] as number) < 0x80) continue;
    const text = datagram.toString('utf8', start, end);
    // U+FFFD appears for bytes that are no UTF-8, and for its own encoding: only the latter encodes back to the same.
    if (text.includes('\ufffd') && !Buffer.from(text).equals(datagram.subarray(start, end))) request.badText = true;
    texts.push(text);
    return 0;
  }
  texts.push(datagram.toString('latin1', start, end));
  return 0;
}

function isUri(number: number): boolean {
  return (
    number === optionNumbers.uriPath ||
    number === optionNumbers.uriQuery ||
    number === optionNumbers.uriHost ||
    number === optionNumbers.uriPort
  );
}
