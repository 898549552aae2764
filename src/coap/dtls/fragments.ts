import { handshakeHeader } from './protocol.ts';

/** A piece of a handshake message, RFC 6347 §4.2.2. */
export interface Fragment {
  readonly type: number;
  /** Of the whole message. */
  readonly length: number;
  readonly messageSequence: number;
  readonly offset: number;
  readonly body: Buffer;
}

/** A whole handshake message. */
export interface HandshakeMessage {
  readonly type: number;
  readonly messageSequence: number;
  readonly body: Buffer;
}

/** The fragments in a record's content; undefined where it is malformed. */
export function parseFragments(content: Buffer): Fragment[] | undefined {
  const fragments: Fragment[] = [];
  let at = 0;
  while (at < content.length) {
    if (content.length < at + handshakeHeader) return undefined;
    const length = content.readUIntBE(at + 1, 3);
    const offset = content.readUIntBE(at + 6, 3);
    const size = content.readUIntBE(at + 9, 3);
    const begin = at + handshakeHeader;
    if (offset + size > length || content.length < begin + size) return undefined;
    fragments.push({
      type: content.readUInt8(at),
      length,
      messageSequence: content.readUInt16BE(at + 4),
      offset,
      body: content.subarray(begin, begin + size),
    });
    at = begin + size;
  }
  return fragments.length === 0 ? undefined : fragments;
}

/** A message, or a part of it, with its header. A whole one is what goes into the transcript (RFC 6347 §4.2.6). */
export function writeFragment(message: HandshakeMessage, offset = 0, size = message.body.length): Buffer {
  const { type, messageSequence, body } = message;
  const out = Buffer.alloc(handshakeHeader + size);
  out.writeUInt8(type, 0);
  out.writeUIntBE(body.length, 1, 3);
  out.writeUInt16BE(messageSequence, 4);
  out.writeUIntBE(offset, 6, 3);
  out.writeUIntBE(size, 9, 3);
  body.copy(out, handshakeHeader, offset, offset + size);
  return out;
}

/** Messages beyond the next that are kept when they come early. */
const ahead = 4;

interface Partial {
  readonly type: number;
  readonly body: Buffer;
  /** 1 where a byte is there. */
  readonly there: Uint8Array;
  missing: number;
}

/** Puts fragments together, in whatever order they come, and gives the messages out in theirs. */
export class Reassembler {
  readonly #maxLength: number;
  readonly #partials = new Map<number, Partial>();
  #next: number;

  /** `maxLength`: of a message. `next`: the message sequence number that comes first. */
  constructor(maxLength: number, next: number) {
    this.#maxLength = maxLength;
    this.#next = next;
  }

  /** The sequence number of the next message. */
  get next(): number {
    return this.#next;
  }

  /**
   * @returns `old` for a message that was given out, `bad` for one that cannot be: too long, or other than its fragments
   * before; what comes too early is dropped and taken when it comes again.
   */
  add(fragment: Fragment): 'taken' | 'old' | 'early' | 'bad' {
    const { type, length, messageSequence, offset, body } = fragment;
    if (messageSequence < this.#next) return 'old';
    if (messageSequence > this.#next + ahead) return 'early';
    if (length > this.#maxLength) return 'bad';
    let partial = this.#partials.get(messageSequence);
    if (partial === undefined) {
      partial = { type, body: Buffer.alloc(length), there: new Uint8Array(length), missing: length };
      this.#partials.set(messageSequence, partial);
    }
    if (partial.type !== type || partial.body.length !== length) return 'bad';
    for (let at = 0; at < body.length; at++) {
      const place = offset + at;
      if (partial.there[place] === 1) continue;
      partial.there[place] = 1;
      partial.body[place] = body[at] as number;
      partial.missing -= 1;
    }
    return 'taken';
  }

  /** The next message, once it is whole. */
  take(): HandshakeMessage | undefined {
    const partial = this.#partials.get(this.#next);
    if (partial === undefined || partial.missing > 0) return undefined;
    this.#partials.delete(this.#next);
    const messageSequence = this.#next;
    this.#next += 1;
    return { type: partial.type, messageSequence, body: partial.body };
  }

  /** What is not whole, may hold an identity or a key exchange: gone. */
  clear(): void {
    for (const { body } of this.#partials.values()) body.fill(0);
    this.#partials.clear();
  }
}
