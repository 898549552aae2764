import { MessageWriter } from './encode.ts';
import { optionNumbers } from './option-numbers.ts';

/** A response message as it goes out: one block of it, if it is block-wise. */
export interface Reply {
  readonly code: number;
  readonly payload: Uint8Array | undefined;
  readonly contentFormat: number | undefined;
  readonly maxAge: number | undefined;
  readonly etag: Uint8Array | undefined;
  readonly block2: number | undefined;
  readonly size2: number | undefined;
  readonly size1: number | undefined;
  observe: number | undefined;
  block1: number | undefined;
}

/** A reply with nothing but what is given. */
export function replyOf(code: number, parts: Partial<Omit<Reply, 'code'>> = {}): Reply {
  return {
    code,
    payload: parts.payload,
    contentFormat: parts.contentFormat,
    maxAge: parts.maxAge,
    etag: parts.etag,
    block2: parts.block2,
    size2: parts.size2,
    size1: parts.size1,
    observe: parts.observe,
    block1: parts.block1,
  };
}

/** Whether the reply is only a code. */
export function isBare(reply: Reply): boolean {
  return (
    (reply.payload === undefined || reply.payload.length === 0) &&
    reply.etag === undefined &&
    reply.observe === undefined &&
    reply.contentFormat === undefined &&
    reply.maxAge === undefined &&
    reply.block1 === undefined &&
    reply.block2 === undefined &&
    reply.size1 === undefined
  );
}

const writer = new MessageWriter();

/** The datagram of a reply; the token is `tokenSource[tokenStart, tokenEnd)`. */
export function writeReply(
  type: number,
  messageId: number,
  tokenSource: Uint8Array,
  reply: Reply,
  tokenStart = 0,
  tokenEnd = tokenSource.length,
): Buffer {
  writer.begin(type, reply.code, messageId, tokenSource, tokenStart, tokenEnd);
  if (reply.etag !== undefined) writer.bytes(optionNumbers.etag, reply.etag);
  if (reply.observe !== undefined) writer.uint(optionNumbers.observe, reply.observe);
  if (reply.contentFormat !== undefined) writer.uint(optionNumbers.contentFormat, reply.contentFormat);
  if (reply.maxAge !== undefined) writer.uint(optionNumbers.maxAge, reply.maxAge);
  if (reply.block2 !== undefined) writer.uint(optionNumbers.block2, reply.block2);
  if (reply.block1 !== undefined) writer.uint(optionNumbers.block1, reply.block1);
  if (reply.size2 !== undefined) writer.uint(optionNumbers.size2, reply.size2);
  if (reply.size1 !== undefined) writer.uint(optionNumbers.size1, reply.size1);
  return writer.finish(reply.payload);
}

/** A message that is only a code, e.g. the 2.04 of a publish: the hot path. */
export function writeBare(
  type: number,
  code: number,
  messageId: number,
  tokenSource: Uint8Array,
  tokenStart: number,
  tokenEnd: number,
): Buffer {
  const datagram = Buffer.allocUnsafe(4 + tokenEnd - tokenStart);
  datagram[0] = 0x40 | (type << 4) | (tokenEnd - tokenStart);
  datagram[1] = code;
  datagram[2] = messageId >> 8;
  datagram[3] = messageId;
  for (let from = tokenStart, at = 4; from < tokenEnd; from++) datagram[at++] = tokenSource[from] as number;
  return datagram;
}
