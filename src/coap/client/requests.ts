import { randomBytes, randomInt } from 'node:crypto';
import { type Clock, HoldfastError } from '../../base/index.ts';
import { classOf } from '../codes.ts';
import { decode, type Message, types } from '../decode.ts';
import { encode, encodeEmpty, type MessageParts } from '../encode.ts';
import type { Datagrams } from './datagrams.ts';
import { Exchange, type ExchangeOptions } from './exchange.ts';

/** A notification, and what acknowledges it; until then the server sends it again, and nothing after it. */
export type Notified = (message: Message, acknowledge: () => void) => void;

export interface RequestsDeps {
  readonly datagrams: Datagrams;
  readonly clock: Clock;
  readonly options: ExchangeOptions;
  /** In [0, 1). */
  readonly random: () => number;
  /** The way to the server broke; what was asked has failed already. */
  readonly failed: (reason: HoldfastError) => void;
}

/** What one request holds. */
export interface RequestParts {
  readonly code: number;
  readonly options: NonNullable<MessageParts['options']>;
  readonly payload?: Uint8Array | undefined;
  /** Default: one that is not in use. */
  readonly token?: Uint8Array | undefined;
}

interface Seen {
  readonly datagram: Buffer;
  acknowledged: boolean;
}

/** A server may have one CON to us in flight; the rest is room for what the network does to NON. */
const remembered = 128;

/** The client's message layer: one request at a time unacknowledged, and what the server sends by itself. */
export class Requests {
  readonly #deps: RequestsDeps;
  readonly #waiting: Exchange[] = [];
  #unacknowledged: Exchange | undefined;
  readonly #open = new Map<string, Exchange>();
  readonly #observers = new Map<string, Notified>();
  /** By message id, the oldest first: what came by itself, so that a retransmission counts once. */
  readonly #seen = new Map<number, Seen>();
  #messageId = randomInt(0x1_0000);
  #closed = false;

  constructor(deps: RequestsDeps) {
    this.#deps = deps;
  }

  open(): Promise<void> {
    return this.#deps.datagrams.open({
      received: (datagram) => this.#received(datagram),
      failed: (reason) => {
        this.#abandon(reason);
        if (!this.#closed) this.#deps.failed(reason);
      },
    });
  }

  close(): void {
    this.#closed = true;
    this.#observers.clear();
    this.#abandon(new HoldfastError('unavailable', 'closed'));
    this.#deps.datagrams.close();
  }

  newToken(): Buffer {
    return randomBytes(8);
  }

  /** @throws HoldfastError `unavailable`: not answered, reset, or the way broke. */
  request(parts: RequestParts): Promise<Message> {
    if (this.#closed) return Promise.reject(new HoldfastError('unavailable', 'closed'));
    const { code, options, payload } = parts;
    const token = parts.token ?? this.newToken();
    const name = Buffer.from(token).toString('hex');
    this.#messageId = (this.#messageId + 1) & 0xffff;
    const messageId = this.#messageId;
    const datagram = encode({
      type: types.con,
      code,
      messageId,
      token,
      options,
      ...(payload === undefined ? {} : { payload }),
    });
    return new Promise((resolve, reject) => {
      const exchange: Exchange = new Exchange(messageId, name, datagram, {
        clock: this.#deps.clock,
        options: this.#deps.options,
        random: this.#deps.random,
        send: (bytes) => this.#deps.datagrams.send(bytes),
        onAcknowledged: () => {
          if (this.#unacknowledged === exchange) this.#unacknowledged = undefined;
          this.#next();
        },
        onEnd: (outcome) => {
          this.#open.delete(name);
          if (outcome instanceof HoldfastError) reject(outcome);
          else resolve(outcome);
        },
      });
      this.#open.set(name, exchange);
      this.#waiting.push(exchange);
      this.#next();
    });
  }

  /** From here on what comes with `token`, and answers no request, goes to `notified`. */
  watch(token: Uint8Array, notified: Notified): void {
    this.#observers.set(Buffer.from(token).toString('hex'), notified);
  }

  /** From here on what comes with `token` is refused with RST. */
  unwatch(token: Uint8Array): void {
    this.#observers.delete(Buffer.from(token).toString('hex'));
  }

  #next(): void {
    if (this.#unacknowledged !== undefined) return;
    const next = this.#waiting.shift();
    if (next === undefined) return;
    this.#unacknowledged = next;
    next.start();
  }

  #abandon(reason: HoldfastError): void {
    this.#waiting.length = 0;
    for (const exchange of [...this.#open.values()]) exchange.end(reason);
  }

  #received(datagram: Buffer): void {
    const message = decode(datagram);
    if (message.problem !== undefined) {
      if (message.problem === 'format' && message.type === types.con) this.#reset(message.messageId);
      return;
    }
    const { type, code, messageId } = message;
    const token = message.token.toString('hex');
    if (type === types.ack || type === types.rst) {
      const exchange = this.#sentUnder(messageId);
      if (type === types.rst) exchange?.end(new HoldfastError('unavailable', 'the request was reset'));
      else if (code === 0) exchange?.acknowledge();
      else if (exchange?.token === token && classOf(code) >= 2) exchange.end(message);
    } else if (classOf(code) >= 2) this.#answered(message, token);
    else if (type === types.con) this.#reset(messageId);
  }

  /** A separate answer, or a notification. */
  #answered(message: Message, token: string): void {
    const { type, messageId, datagram } = message;
    const before = this.#seen.get(messageId);
    if (before?.datagram.equals(datagram) === true) {
      if (before.acknowledged && type === types.con) this.#acknowledge(messageId);
      return;
    }
    const exchange = this.#open.get(token);
    const observer = this.#observers.get(token);
    if (exchange === undefined && observer === undefined) {
      this.#reset(messageId);
      return;
    }
    const seen: Seen = { datagram, acknowledged: false };
    this.#seen.delete(messageId);
    this.#seen.set(messageId, seen);
    for (const oldest of this.#seen.keys()) {
      if (this.#seen.size <= remembered) break;
      this.#seen.delete(oldest);
    }
    const acknowledge = () => {
      if (seen.acknowledged || this.#closed) return;
      seen.acknowledged = true;
      if (type === types.con) this.#acknowledge(messageId);
    };
    if (exchange !== undefined) {
      acknowledge();
      exchange.end(message);
    } else observer?.(message, acknowledge);
  }

  /** The request of that message id that still waits. */
  #sentUnder(messageId: number): Exchange | undefined {
    if (this.#unacknowledged?.messageId === messageId) return this.#unacknowledged;
    // a piggybacked answer after an empty ACK: out of order, and good all the same
    return [...this.#open.values()].find((one) => one.messageId === messageId && !this.#waiting.includes(one));
  }

  #acknowledge(messageId: number): void {
    this.#deps.datagrams.send(encodeEmpty(types.ack, messageId));
  }

  #reset(messageId: number): void {
    this.#deps.datagrams.send(encodeEmpty(types.rst, messageId));
  }
}
