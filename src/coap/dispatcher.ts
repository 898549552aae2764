import { crc32c, reasonOf } from '../base/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { classOf, codes, methods } from './codes.ts';
import type { CoapCounters } from './counters.ts';
import { decode, type Malformed, type Message, types } from './decode.ts';
import { type Deduplicator, seen } from './deduplicator.ts';
import { encodeEmpty } from './encode.ts';
import type { Exchanges } from './exchanges.ts';
import { Incoming, readOptions } from './incoming.ts';
import type { RequestHandler } from './message-layer.ts';
import type { Observations } from './observations.ts';
import type { CoapOptions } from './options.ts';
import type { Outbox } from './outbox.ts';
import type { Peer } from './peers.ts';
import { replyOf, writeBare } from './reply.ts';
import type { Representations } from './representations.ts';
import type { Uploads } from './uploads.ts';

export interface DispatcherDeps {
  readonly options: CoapOptions;
  readonly logger: Logger;
  readonly handler: RequestHandler;
  readonly counters: CoapCounters;
  readonly now: () => number;
  readonly send: (peer: Peer, datagram: Uint8Array) => void;
  readonly deduplicator: Deduplicator;
  readonly outbox: Outbox;
  readonly exchanges: Exchanges;
  readonly observations: Observations;
  readonly uploads: Uploads;
  readonly representations: Representations;
}

/** What a datagram leads to. */
export class Dispatcher {
  readonly #deps: DispatcherDeps;

  constructor(deps: DispatcherDeps) {
    this.#deps = deps;
  }

  /** `accepting`: whether new requests are taken; acknowledgements and duplicates always are. */
  received(peer: Peer, datagram: Buffer, accepting: boolean): void {
    const { counters } = this.#deps;
    if (peer.port === 0) {
      counters.ignored.add();
      return;
    }
    const message = decode(datagram);
    if (message.problem !== undefined) {
      this.#malformed(message, peer);
      return;
    }
    const { type, code } = message;
    if (code === codes.empty) this.#empty(peer, message);
    else if (classOf(code) === 0) {
      if (type <= types.non) this.#request(peer, message, accepting);
    } else if (type === types.ack) this.#deps.outbox.acknowledged(peer, message.messageId);
    // We send no requests, so no response is awaited: RFC 7252 §5.3.2 rejects it.
    else if (type === types.con) this.#reset(peer, message.messageId);
  }

  /** RFC 7252 §4.2, §4.3: a CON that cannot be read is rejected, anything else is silently ignored. */
  #malformed({ problem, type, messageId }: Malformed, peer: Peer): void {
    this.#deps.counters.parseErrors.add();
    if (problem !== 'format' || type !== types.con) return;
    this.#deps.counters.resetsSent.add();
    this.#deps.send(peer, encodeEmpty(types.rst, messageId));
  }

  #empty(peer: Peer, { type, messageId }: Message): void {
    const { outbox, observations, counters } = this.#deps;
    if (type === types.ack) outbox.acknowledged(peer, messageId);
    else if (type === types.con) this.#reset(peer, messageId);
    else if (type === types.rst) {
      counters.resetsReceived.add();
      if (!outbox.reset(peer, messageId)) observations.reset(peer, messageId);
    }
  }

  #reset(peer: Peer, messageId: number): void {
    this.#deps.counters.resetsSent.add();
    this.#deps.send(peer, encodeEmpty(types.rst, messageId));
  }

  #request(peer: Peer, message: Message, accepting: boolean): void {
    const { counters, deduplicator, exchanges, now: monotonic } = this.#deps;
    const now = monotonic();
    const fingerprint = crc32c(message.datagram) | 0;
    const slot = deduplicator.find(peer, message.messageId, fingerprint, now);
    if (slot !== 0) {
      counters.duplicates.add();
      this.#repeat(peer, message, slot);
      return;
    }
    if (!accepting) return;
    counters.requests.add();
    const request = new Incoming(message, peer);
    const refusal = readOptions(request);
    if (refusal !== 0) {
      // RFC 7252 §5.4.1: a NON with a critical option that is not understood is rejected, as a message.
      if (refusal === codes.badOption && !request.confirmable) this.#reset(peer, message.messageId);
      else exchanges.refuse(request, replyOf(refusal));
      return;
    }
    if (exchanges.full(peer)) {
      counters.overload.add();
      if (request.confirmable) exchanges.refuse(request, replyOf(codes.serviceUnavailable, { maxAge: 1 }));
      return;
    }
    this.#admit(request, fingerprint, now);
  }

  #admit(request: Incoming, fingerprint: number, now: number): void {
    const { exchanges, uploads, representations, options } = this.#deps;
    const { endpoint: peer, block1: block, block2 } = request;
    if (block === undefined) {
      if (request.payload.length > options.maxPayload) {
        const tooLarge = replyOf(codes.requestEntityTooLarge, { size1: options.maxPayload });
        exchanges.answer(request, fingerprint, now, tooLarge);
        return;
      }
      if (block2 !== undefined && block2.num > 0) {
        request.observe = undefined; // RFC 7959 §2.6: only the first block registers.
        const later = representations.serve(peer, request.resource(), block2);
        if (later !== undefined || request.method !== methods.get) {
          const reply = later ?? replyOf(codes.requestEntityIncomplete);
          exchanges.answer(request, fingerprint, now, reply);
          return;
        }
      }
      this.#handle(request, fingerprint, now, undefined);
      return;
    }
    const { payload, size1: size } = request;
    const step = uploads.accept({ peer, resource: request.resource(true), block, payload, size, now });
    if (step.reply !== undefined) {
      if (step.reply.code === codes.serviceUnavailable) this.#deps.counters.overload.add();
      exchanges.answer(request, fingerprint, now, step.reply);
      return;
    }
    request.payload = step.body;
    this.#handle(request, fingerprint, now, step.block1);
  }

  #handle(request: Incoming, fingerprint: number, now: number, block1: number | undefined): void {
    const { exchanges, handler, logger, now: monotonic } = this.#deps;
    const exchange = exchanges.open(request, fingerprint, now, block1);
    try {
      handler.handle(request, (response) => exchanges.respond(exchange, response, monotonic()));
    } catch (thrown) {
      logger.error({ reason: reasonOf(thrown) }, 'a CoAP request failed');
      exchanges.respond(exchange, { code: codes.internalServerError }, now);
    }
  }

  /** A request again, RFC 7252 §4.5: what was sent for it is sent again. */
  #repeat(peer: Peer, message: Message, slot: number): void {
    const { deduplicator, send } = this.#deps;
    const { datagram, messageId, tokenLength } = message;
    switch (deduplicator.state(slot)) {
      case seen.acknowledged:
      case seen.separate:
        send(peer, encodeEmpty(types.ack, messageId));
        break;
      case seen.code: {
        const bare = writeBare(types.ack, deduplicator.code(slot), messageId, datagram, 4, 4 + tokenLength);
        send(peer, bare);
        break;
      }
      case seen.reply: {
        const reply = deduplicator.reply(slot);
        if (reply !== undefined) send(peer, reply);
        break;
      }
    }
  }
}
