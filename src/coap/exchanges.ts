import { classOf, codes } from './codes.ts';
import { types } from './decode.ts';
import { type Deduplicator, seen } from './deduplicator.ts';
import { encodeEmpty } from './encode.ts';
import type { Incoming } from './incoming.ts';
import type { CoapResponse } from './message-layer.ts';
import type { CoapOptions } from './options.ts';
import type { Outbox, Outgoing } from './outbox.ts';
import type { Peer } from './peers.ts';
import { type Pending, PendingList } from './pending-list.ts';
import type { Relation } from './relation.ts';
import { isBare, type Reply, writeBare, writeReply } from './reply.ts';
import type { Representations } from './representations.ts';

export interface ExchangeDeps {
  readonly options: CoapOptions;
  readonly deduplicator: Deduplicator;
  readonly outbox: Outbox;
  readonly representations: Representations;
  readonly send: (peer: Peer, datagram: Uint8Array) => void;
  readonly hold: (peer: Peer) => void;
  readonly release: (peer: Peer) => void;
  /** The last of the exchanges is answered. */
  readonly onIdle: () => void;
}

/** A request that waits for the handler's answer. */
export interface Exchange extends Pending<Exchange> {
  readonly request: Incoming;
  readonly fingerprint: number;
  /** Monotonic milliseconds. */
  readonly arrived: number;
  /** The Block1 option of the answer, after an upload. */
  readonly block1: number | undefined;
  /** An empty ACK was sent. */
  acknowledged: boolean;
  relation: Relation | undefined;
}

/** Requests and their answers: piggybacked, separate (RFC 7252 §5.2), or NON. */
export class Exchanges {
  readonly #deps: ExchangeDeps;
  readonly #pending = new PendingList<Exchange>();

  constructor(deps: ExchangeDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#pending.size;
  }

  /** Whether a bound on waiting requests is reached. */
  full(peer: Peer): boolean {
    const { maxPending, maxPendingPerEndpoint } = this.#deps.options;
    return this.#pending.size >= maxPending || peer.pending >= maxPendingPerEndpoint;
  }

  /** Remembers a request and opens its exchange. */
  open(request: Incoming, fingerprint: number, now: number, block1?: number): Exchange {
    const peer = request.endpoint;
    this.#remember(request, fingerprint, now, request.confirmable ? seen.pending : seen.silent);
    const exchange: Exchange = {
      request,
      fingerprint,
      arrived: now,
      block1,
      acknowledged: false,
      relation: undefined,
      older: undefined,
      newer: undefined,
      listed: false,
    };
    request.exchange = exchange;
    this.#pending.add(exchange);
    peer.pending += 1;
    this.#deps.hold(peer);
    return exchange;
  }

  /** The handler's answer; only the first counts. */
  respond(exchange: Exchange, response: CoapResponse, now: number): void {
    const { request, relation } = exchange;
    if (!this.#close(exchange)) return;
    const reply = this.#deps.representations.cut(response, {
      peer: request.endpoint,
      resource: () => request.resource(),
      asked: request.block2,
      always: request.block2 !== undefined,
    });
    reply.block1 = exchange.block1;
    const registered = relation !== undefined && !relation.ended && classOf(reply.code) === 2;
    if (relation !== undefined && !registered) relation.end();
    if (registered) reply.observe = relation.activate();
    this.#reply(exchange, reply, now);
    if (registered) relation.release();
    if (this.#pending.size === 0) this.#deps.onIdle();
  }

  /** Answers a request at once, without the handler, and remembers the answer. */
  answer(request: Incoming, fingerprint: number, now: number, reply: Reply): void {
    if (request.confirmable) this.#remember(request, fingerprint, now, seen.pending);
    else this.#remember(request, fingerprint, now, seen.silent);
    this.#reply({ request, fingerprint, acknowledged: false }, reply, now);
  }

  /** Answers without remembering: for refusals that come out the same again. */
  refuse(request: Incoming, reply: Reply): void {
    const { datagram, tokenLength, messageId } = request.message;
    const end = 4 + tokenLength;
    if (request.confirmable) {
      this.#deps.send(request.endpoint, writeReply(types.ack, messageId, datagram, reply, 4, end));
    } else this.#sendNon(request, reply);
  }

  /** Acknowledges requests that have waited long enough; gives up those the handler forgot. */
  tick(now: number): void {
    const { separateAfter, exchangeLifetime } = this.#deps.options;
    let next: Exchange | undefined;
    for (let exchange = this.#pending.oldest; exchange !== undefined; exchange = next) {
      next = exchange.newer;
      if (now - exchange.arrived < separateAfter) return;
      if (now - exchange.arrived >= exchangeLifetime) {
        this.respond(exchange, { code: codes.serviceUnavailable }, now);
        continue;
      }
      const { request } = exchange;
      if (exchange.acknowledged || !request.confirmable) continue;
      exchange.acknowledged = true;
      const slot = this.#slot(exchange, now);
      if (slot !== 0) this.#deps.deduplicator.setState(slot, seen.acknowledged);
      this.#deps.send(request.endpoint, encodeEmpty(types.ack, request.message.messageId));
    }
  }

  /** Forgets all exchanges; late answers do nothing. */
  clear(): void {
    for (let { oldest } = this.#pending; oldest !== undefined; { oldest } = this.#pending) this.#close(oldest);
  }

  #reply(exchange: Pick<Exchange, 'request' | 'fingerprint' | 'acknowledged'>, reply: Reply, now: number): void {
    const { request } = exchange;
    const { deduplicator, send, outbox } = this.#deps;
    if (!request.confirmable) {
      this.#sendNon(request, reply);
      return;
    }
    const slot = this.#slot(exchange, now);
    if (exchange.acknowledged) {
      if (slot !== 0) deduplicator.setState(slot, seen.separate);
      outbox.post(request.endpoint, new SeparateResponse(request, reply));
      return;
    }
    const { datagram, tokenLength, messageId } = request.message;
    if (isBare(reply)) {
      if (slot !== 0) deduplicator.setCode(slot, reply.code);
      send(request.endpoint, writeBare(types.ack, reply.code, messageId, datagram, 4, 4 + tokenLength));
    } else {
      const bytes = writeReply(types.ack, messageId, datagram, reply, 4, 4 + tokenLength);
      if (slot !== 0) deduplicator.setReply(slot, bytes);
      send(request.endpoint, bytes);
    }
  }

  /** The answer to a NON, at once: it has no place in the order of notifications. */
  #sendNon({ endpoint, message }: Incoming, reply: Reply): void {
    const end = 4 + message.tokenLength;
    const messageId = endpoint.nextMessageId();
    this.#deps.send(endpoint, writeReply(types.non, messageId, message.datagram, reply, 4, end));
  }

  #remember(request: Incoming, fingerprint: number, now: number, state: number): void {
    const { exchangeLifetime, nonLifetime } = this.#deps.options;
    const lifetime = request.confirmable ? exchangeLifetime : nonLifetime;
    this.#deps.deduplicator.insert(request.endpoint, request.message.messageId, fingerprint, state, now + lifetime);
  }

  #slot({ request, fingerprint }: Pick<Exchange, 'request' | 'fingerprint'>, now: number): number {
    return this.#deps.deduplicator.find(request.endpoint, request.message.messageId, fingerprint, now);
  }

  #close(exchange: Exchange): boolean {
    const peer = exchange.request.endpoint;
    if (!this.#pending.delete(exchange)) return false;
    exchange.request.exchange = undefined;
    peer.pending -= 1;
    this.#deps.release(peer);
    return true;
  }
}

/** The answer to a CON after its empty ACK. */
class SeparateResponse implements Outgoing {
  readonly owner = undefined;
  readonly bytes: number;
  readonly #token: Uint8Array;
  readonly #reply: Reply;

  constructor(request: Incoming, reply: Reply) {
    this.#token = new Uint8Array(request.token);
    this.#reply = reply;
    this.bytes = reply.payload?.length ?? 0;
  }

  confirmable(): boolean {
    return true;
  }

  render(type: number, messageId: number): Uint8Array {
    return writeReply(type, messageId, this.#token, this.#reply);
  }

  settled(): void {
    // A client that does not fetch its answer is no concern of ours.
  }
}
