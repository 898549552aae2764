import { HoldfastError } from '../../base/index.ts';
import { type Block, blockBytes, blockOf, blockValue } from '../block.ts';
import { classOf, codes } from '../codes.ts';
import { type Message, uintAt } from '../decode.ts';
import { optionNumbers } from '../option-numbers.ts';
import type { RequestParts, Requests } from './requests.ts';

/** A request as the caller has it: the body whole. */
export interface ClientRequest {
  readonly method: number;
  readonly path: readonly string[];
  readonly query: readonly string[];
  readonly payload?: Uint8Array;
}

/** An answer, its body whole. */
export interface ClientResponse {
  readonly code: number;
  readonly payload: Buffer;
}

type Option = RequestParts['options'][number];

const longestOption = 255;
const largestBlock = 6;
/** Bytes of an answer or a notification, at most. */
const maxBody = 64 * 1_024 * 1_024;

/** @throws HoldfastError `bad_request` where CoAP has no room for a part of the path or of the query. */
export function uriOptions({ path, query }: Pick<ClientRequest, 'path' | 'query'>): Option[] {
  const options = [
    ...path.map((text) => [optionNumbers.uriPath, Buffer.from(text)] as const),
    ...query.map((text) => [optionNumbers.uriQuery, Buffer.from(text)] as const),
  ];
  if (options.some(([, value]) => value.length > longestOption)) {
    throw new HoldfastError(
      'bad_request',
      `CoAP has ${longestOption} bytes for a level of a topic and for a name or a password`,
    );
  }
  return options;
}

/** Sends a body in blocks where one datagram is too small for it (RFC 7959 §2.5); the answer to the last. */
export async function upload(requests: Requests, request: ClientRequest): Promise<Message> {
  const { method: code, payload } = request;
  const uri = uriOptions(request);
  if (payload === undefined || payload.length <= blockBytes(largestBlock)) {
    return requests.request({ code, options: uri, payload });
  }
  let szx = largestBlock;
  for (let at = 0; ; ) {
    const size = blockBytes(szx);
    const more = at + size < payload.length;
    const options: Option[] = [...uri, [optionNumbers.block1, blockValue(at / size, more, szx)]];
    if (at === 0) options.push([optionNumbers.size1, payload.length]);
    const answer = await requests.request({ code, options, payload: payload.subarray(at, at + size) });
    const wanted = blockIn(answer, optionNumbers.block1)?.szx ?? szx;
    // what is too large may only be so in blocks of that size (§2.9.3)
    const again = answer.code === codes.requestEntityTooLarge && at === 0 && wanted < szx;
    if (!again && (!more || answer.code !== codes.continue)) return answer;
    if (!again) at += size;
    szx = Math.min(szx, wanted);
  }
}

/**
 * The whole body of which `first` has the first block, or all (RFC 7959 §2.4). The others are asked for as `request` was.
 * @throws HoldfastError `unavailable`, also where the body changed meanwhile.
 */
export async function download(requests: Requests, request: ClientRequest, first: Message): Promise<Buffer> {
  let block = blockIn(first, optionNumbers.block2);
  if (block === undefined) return first.payload;
  const uri = uriOptions(request);
  const etag = optionOf(first, optionNumbers.etag);
  const parts = [first.payload];
  let length = first.payload.length;
  while (block.more) {
    const { szx } = block;
    const num = length / blockBytes(szx);
    const options: Option[] = [...uri, [optionNumbers.block2, blockValue(num, false, szx)]];
    const next = await requests.request({ code: request.method, options });
    const got = blockIn(next, optionNumbers.block2);
    const same = classOf(next.code) === 2 && Buffer.compare(optionOf(next, optionNumbers.etag), etag) === 0;
    if (!same || got === undefined || got.num * blockBytes(got.szx) !== length || next.payload.length === 0) {
      throw new HoldfastError('unavailable', 'it changed while its blocks were fetched');
    }
    parts.push(next.payload);
    length += next.payload.length;
    if (length > maxBody) throw new HoldfastError('unavailable', `it is larger than ${maxBody} bytes`);
    block = got;
  }
  return Buffer.concat(parts);
}

/** The value of an option; empty where it is not there. */
function optionOf(message: Message, number: number): Buffer {
  return has(message, number) ?? Buffer.alloc(0);
}

/** The first value of an option. */
export function has({ options, datagram }: Message, number: number): Buffer | undefined {
  for (let at = 0; at < options.length; at += 3) {
    if (options[at] === number) return datagram.subarray(options[at + 1], options[at + 2]);
  }
  return undefined;
}

function blockIn(message: Message, number: number): Block | undefined {
  const value = has(message, number);
  return value === undefined || value.length > 3 ? undefined : blockOf(uintAt(value, 0, value.length));
}
