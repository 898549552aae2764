import type { Peer } from './peers.ts';

/** What is known of a request that was seen before. */
export const seen = {
  /** The handler has not answered; nothing was sent. */
  pending: 1,
  /** The handler has not answered; an empty ACK was sent. */
  acknowledged: 2,
  /** An empty ACK was sent, and the answer separately. */
  separate: 3,
  /** Answered by an ACK with a code and nothing else. */
  code: 4,
  /** Answered by an ACK that is kept. */
  reply: 5,
  /** A NON request: a duplicate gets nothing. */
  silent: 6,
} as const;

/** A power of two. */
const fewestChains = 4_096;

export interface DeduplicatorDeps {
  readonly capacity: number;
  readonly perPeer: number;
  readonly maxReplyBytes: number;
  readonly hold: (peer: Peer) => void;
  readonly release: (peer: Peer) => void;
}

/**
 * The requests of the last minutes, RFC 7252 §4.5. An entry is a slot in flat arrays, some 40 bytes with an answer that
 * is only a code: slots are used in a ring, found through hash chains, and linked per peer from oldest to newest, so
 * that every bound forgets the oldest first. Entries that still wait for the handler are never forgotten.
 *
 * An entry is known by peer, message id and a fingerprint of the datagram: a retransmission is the same bytes, whereas a
 * device that restarted and counts its message ids from 1 again sends others, and those are a new request.
 *
 * Slot numbers are from 1; 0 is none. A slot number holds until the next `insert` or `sweep`.
 */
export class Deduplicator {
  readonly #deps: DeduplicatorDeps;
  readonly #peers: (Peer | undefined)[] = [undefined];
  /** A character for each byte: a string is a quarter of a small typed array, and thousands are kept. */
  readonly #replies: (string | undefined)[] = [undefined];
  readonly #messageIds: Uint16Array;
  readonly #fingerprints: Int32Array;
  readonly #states: Uint8Array;
  readonly #codes: Uint8Array;
  readonly #expires: Float64Array;
  readonly #nextInChain: Uint32Array;
  readonly #nextOfPeer: Uint32Array;
  /** Grows with what is remembered, since entries lie all over it. */
  #chains: Uint32Array;
  /** Positions count up forever; the slot of a position is 1 + position modulo the capacity. */
  #head = 0;
  #tail = 0;
  #size = 0;
  #replyBytes = 0;

  constructor(deps: DeduplicatorDeps) {
    this.#deps = deps;
    const slots = deps.capacity + 1;
    this.#messageIds = new Uint16Array(slots);
    this.#fingerprints = new Int32Array(slots);
    this.#states = new Uint8Array(slots);
    this.#codes = new Uint8Array(slots);
    this.#expires = new Float64Array(slots);
    this.#nextInChain = new Uint32Array(slots);
    this.#nextOfPeer = new Uint32Array(slots);
    this.#chains = new Uint32Array(fewestChains);
  }

  get size(): number {
    return this.#size;
  }

  get replyBytes(): number {
    return this.#replyBytes;
  }

  /** The slot of that request, or 0. */
  find(peer: Peer, messageId: number, fingerprint: number, now: number): number {
    for (let slot = this.#chains[this.#chain(peer, messageId)] as number; slot !== 0; ) {
      if (
        this.#peers[slot] === peer &&
        this.#messageIds[slot] === messageId &&
        this.#fingerprints[slot] === fingerprint
      ) {
        return this.#isPending(slot) || (this.#expires[slot] as number) > now ? slot : 0;
      }
      slot = this.#nextInChain[slot] as number;
    }
    return 0;
  }

  /** One of `seen`. */
  state(slot: number): number {
    return this.#states[slot] as number;
  }

  code(slot: number): number {
    return this.#codes[slot] as number;
  }

  reply(slot: number): Uint8Array | undefined {
    const reply = this.#replies[slot];
    return reply === undefined ? undefined : Buffer.from(reply, 'latin1');
  }

  /** Remembers a request until `expires` (monotonic milliseconds). */
  insert(peer: Peer, messageId: number, fingerprint: number, state: number, expires: number): number {
    while (peer.remembered >= this.#deps.perPeer) this.#forgetOrKeep(peer.oldestSlot);
    return this.#append(peer, messageId, fingerprint, state, expires);
  }

  setState(slot: number, state: number): void {
    this.#states[slot] = state;
  }

  /** Keeps the code of an answer that has neither options nor payload. */
  setCode(slot: number, code: number): void {
    this.#states[slot] = seen.code;
    this.#codes[slot] = code;
  }

  /** Keeps a copy of an answer. */
  setReply(slot: number, reply: Buffer): void {
    this.#states[slot] = seen.reply;
    this.#replies[slot] = reply.toString('latin1');
    this.#replyBytes += reply.length;
    while (this.#replyBytes > this.#deps.maxReplyBytes && this.#size > 1) this.#forgetOldest();
  }

  /** Forgets what has expired by `now`. */
  sweep(now: number): void {
    while (this.#size > 0) {
      const slot = this.#slotAt(this.#head);
      if (this.#peers[slot] !== undefined) {
        if ((this.#expires[slot] as number) > now) return;
        if (this.#isPending(slot)) return;
        this.#forget(slot);
      }
      this.#head += 1;
    }
  }

  /** Forgets everything. */
  clear(): void {
    for (; this.#head < this.#tail; this.#head++) {
      const slot = this.#slotAt(this.#head);
      if (this.#peers[slot] !== undefined) this.#forget(slot);
    }
  }

  #append(peer: Peer, messageId: number, fingerprint: number, state: number, expires: number): number {
    while (this.#tail - this.#head >= this.#deps.capacity) this.#forgetOldest();
    const slot = this.#slotAt(this.#tail++);
    this.#size += 1;
    this.#peers[slot] = peer;
    this.#replies[slot] = undefined;
    this.#messageIds[slot] = messageId;
    this.#fingerprints[slot] = fingerprint;
    this.#states[slot] = state;
    this.#codes[slot] = 0;
    this.#expires[slot] = expires;
    if (this.#size * 2 > this.#chains.length) this.#moreChains();
    else this.#enchain(peer, slot);
    this.#nextOfPeer[slot] = 0;
    if (peer.remembered++ === 0) {
      peer.oldestSlot = slot;
      this.#deps.hold(peer);
    } else this.#nextOfPeer[peer.newestSlot] = slot;
    peer.newestSlot = slot;
    return slot;
  }

  #forgetOldest(): void {
    const slot = this.#slotAt(this.#head++);
    if (this.#peers[slot] !== undefined) this.#forgetOrKeep(slot);
  }

  /** Forgets an entry; one that waits for the handler becomes the newest instead. It must be its peer's oldest. */
  #forgetOrKeep(slot: number): void {
    const peer = this.#peers[slot];
    if (peer === undefined) return;
    if (!this.#isPending(slot)) {
      this.#forget(slot);
      return;
    }
    const messageId = this.#messageIds[slot] as number;
    const fingerprint = this.#fingerprints[slot] as number;
    const state = this.#states[slot] as number;
    const expires = this.#expires[slot] as number;
    this.#deps.hold(peer);
    this.#forget(slot);
    this.#append(peer, messageId, fingerprint, state, expires);
    this.#deps.release(peer);
  }

  /** Empties a slot, which must be its peer's oldest; the ring passes over it. */
  #forget(slot: number): void {
    const peer = this.#peers[slot];
    if (peer === undefined) return;
    this.#unchain(peer, slot);
    peer.oldestSlot = this.#nextOfPeer[slot] as number;
    this.#replyBytes -= this.#replies[slot]?.length ?? 0;
    this.#peers[slot] = undefined;
    this.#replies[slot] = undefined;
    this.#size -= 1;
    if (--peer.remembered === 0) this.#deps.release(peer);
  }

  #enchain(peer: Peer, slot: number): void {
    const chain = this.#chain(peer, this.#messageIds[slot] as number);
    this.#nextInChain[slot] = this.#chains[chain] as number;
    this.#chains[chain] = slot;
  }

  #moreChains(): void {
    this.#chains = new Uint32Array(this.#chains.length * 2);
    for (let position = this.#head; position < this.#tail; position++) {
      const slot = this.#slotAt(position);
      const peer = this.#peers[slot];
      if (peer !== undefined) this.#enchain(peer, slot);
    }
  }

  #unchain(peer: Peer, slot: number): void {
    const chain = this.#chain(peer, this.#messageIds[slot] as number);
    const after = this.#nextInChain[slot] as number;
    let at = this.#chains[chain] as number;
    if (at === slot) {
      this.#chains[chain] = after;
      return;
    }
    while (this.#nextInChain[at] !== slot) at = this.#nextInChain[at] as number;
    this.#nextInChain[at] = after;
  }

  #isPending(slot: number): boolean {
    const state = this.#states[slot] as number;
    return state === seen.pending || state === seen.acknowledged;
  }

  #slotAt(position: number): number {
    return 1 + (position % this.#deps.capacity);
  }

  #chain(peer: Peer, messageId: number): number {
    const mixed = Math.imul(peer.seed ^ Math.imul(messageId + 1, 0x85ebca6b), 0xc2b2ae35);
    return (mixed ^ (mixed >>> 15)) & (this.#chains.length - 1);
  }
}
