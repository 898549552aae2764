import { type Clock, HoldfastError, reasonOf, type Service, type Timer } from '../base/index.ts';
import type { Logger, Metrics } from '../telemetry/index.ts';
import { szxOf } from './block.ts';
import { type CoapCounters, type CoapDiagnostics, coapCounters, coapGauges } from './counters.ts';
import { Deduplicator } from './deduplicator.ts';
import { Dispatcher } from './dispatcher.ts';
import { Exchanges } from './exchanges.ts';
import { Incoming } from './incoming.ts';
import type {
  CoapRequest,
  Endpoint,
  KeptObservation,
  Observation,
  ObserveOptions,
  Place,
  RequestHandler,
} from './message-layer.ts';
import { Observations } from './observations.ts';
import { type CoapOptions, defaultCoapOptions } from './options.ts';
import { Outbox } from './outbox.ts';
import { type Peer, PeerTable } from './peers.ts';
import { Representations } from './representations.ts';
import type { Transport, TransportSession } from './transport.ts';
import { Uploads } from './uploads.ts';

export interface CoapServerDeps {
  readonly transports: readonly Transport[];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly handler: RequestHandler;
  /** What differs from `defaultCoapOptions`. */
  readonly options?: Partial<CoapOptions>;
  /** Numbers in [0, 1). */
  readonly random?: () => number;
}

/** Milliseconds between looks at ACKs and retransmissions that may be due, while there are any. */
const tickEvery = 100;
/** Milliseconds between looks at what has expired. */
const sweepEvery = 5_000;

/** The CoAP message layer over its transports. */
export class CoapServer implements Service {
  readonly name = 'coap';
  readonly #deps: CoapServerDeps;
  readonly #options: CoapOptions;
  readonly #clock: Clock;
  readonly #counters: CoapCounters;
  readonly #peers: PeerTable;
  readonly #deduplicator: Deduplicator;
  readonly #outbox: Outbox;
  readonly #exchanges: Exchanges;
  readonly #observations: Observations;
  readonly #uploads: Uploads;
  readonly #representations: Representations;
  readonly #dispatcher: Dispatcher;
  #state: 'new' | 'running' | 'draining' | 'stopped' = 'new';
  #tick: Timer | undefined;
  #sweep: Timer | undefined;
  #drained: (() => void) | undefined;

  constructor(deps: CoapServerDeps) {
    this.#deps = deps;
    this.#clock = deps.clock;
    const options = { ...defaultCoapOptions, ...deps.options };
    this.#options = options;
    const random = deps.random ?? Math.random;
    const szx = szxOf(options.blockSize);
    const now = () => this.#clock.monotonic();
    const send = (peer: Peer, datagram: Uint8Array) =>
      this.#send(peer.transport, datagram, peer.address, peer.port, peer.session);
    this.#counters = coapCounters(deps.metrics);
    this.#peers = new PeerTable(random);
    const hold = (peer: Peer) => this.#peers.hold(peer);
    const release = (peer: Peer) => this.#peers.release(peer);
    this.#deduplicator = new Deduplicator({
      // Requests that wait are never forgotten: there must be room for others beside them.
      capacity: Math.max(options.maxRemembered, 2 * options.maxPending),
      perPeer: Math.max(options.maxRememberedPerEndpoint, 2 * options.maxPendingPerEndpoint),
      maxReplyBytes: options.maxRememberedBytes,
      hold,
      release,
    });
    this.#outbox = new Outbox({
      options,
      resolution: tickEvery,
      now,
      random,
      send,
      hold,
      release,
      onInFlight: () => this.#armTick(),
      onRetransmission: () => this.#counters.retransmissions.add(),
      onDropped: () => this.#counters.notificationsDropped.add(),
    });
    this.#representations = new Representations({
      maxCount: options.maxRepresentations,
      maxBytes: options.maxRepresentationBytes,
      lifetime: options.representationLifetime,
      szx,
      now,
      hold,
      release,
    });
    this.#uploads = new Uploads({ options, szx, hold, release });
    this.#observations = new Observations({
      options,
      peers: this.#peers,
      outbox: this.#outbox,
      representations: this.#representations,
      now,
      wall: () => this.#clock.wall(),
    });
    this.#exchanges = new Exchanges({
      options,
      deduplicator: this.#deduplicator,
      outbox: this.#outbox,
      representations: this.#representations,
      send,
      hold,
      release,
      onIdle: () => this.#drained?.(),
    });
    this.#dispatcher = new Dispatcher({
      options,
      logger: deps.logger,
      handler: deps.handler,
      counters: this.#counters,
      now,
      send,
      deduplicator: this.#deduplicator,
      outbox: this.#outbox,
      exchanges: this.#exchanges,
      observations: this.#observations,
      uploads: this.#uploads,
      representations: this.#representations,
    });
    coapGauges(deps.metrics, () => this.diagnostics());
  }

  /** @throws HoldfastError `start_failed` if a transport cannot be bound; those that were are closed again. */
  async start(): Promise<void> {
    this.#state = 'running';
    this.#sweep = this.#clock.every('coap sweep', sweepEvery, () => this.#sweepAll());
    for (const transport of this.#deps.transports) {
      try {
        await transport.start({
          received: (datagram, address, port, session) => this.#received(transport, datagram, address, port, session),
          ended: (session) => this.#ended(transport, session),
          failed: (reason) => this.#sendFailed(reason),
        });
      } catch (thrown) {
        await this.stop();
        if (thrown instanceof HoldfastError) throw thrown;
        throw new HoldfastError('start_failed', `${transport.url}: ${reasonOf(thrown)}`, { cause: thrown });
      }
    }
  }

  /**
   * Takes no more requests, waits a little for answers that are due, and gives the rest up. A socket that somebody holds is
   * read no more: what is left there the next process reads. What was read of it all the same is taken.
   */
  async stop(): Promise<void> {
    for (const transport of this.#deps.transports) if (transport.held === true) transport.pause?.();
    if (this.#state === 'running' && this.#exchanges.size > 0) {
      this.#state = 'draining';
      await new Promise<void>((resolve) => {
        const timer = this.#clock.after('coap drain', this.#options.stopGrace, resolve);
        this.#drained = () => {
          timer.cancel();
          resolve();
        };
      });
    }
    this.#state = 'stopped';
    this.#drained = undefined;
    this.#exchanges.clear();
    this.#observations.endAll('stopped');
    this.#outbox.clear();
    this.#uploads.clear();
    this.#representations.clear();
    this.#deduplicator.clear();
    this.#tick?.cancel();
    this.#sweep?.cancel();
    this.#tick = undefined;
    this.#sweep = undefined;
    await Promise.all(this.#deps.transports.map((transport) => transport.stop()));
  }

  /**
   * Makes the client of a GET with Observe=0 an observer: called before its `respond`, whose 2.xx then carries Observe.
   * The same endpoint and token again replaces the older observation. Undefined at a bound on observations, or if the
   * request is answered already.
   */
  observe(request: CoapRequest, options: ObserveOptions): Observation | undefined {
    if (this.#state !== 'running' || !(request instanceof Incoming)) return undefined;
    const { exchange } = request;
    if (exchange === undefined) return undefined;
    const relation = this.#observations.add(
      {
        peer: request.endpoint,
        token: request.token,
        resource: request.resource(),
        szx: request.block2?.szx,
      },
      options,
    );
    if (relation !== undefined) exchange.relation = relation;
    return relation;
  }

  /**
   * Goes on with an observation that an earlier run had: its client waits for no answer, and is sent what is notified.
   * Undefined at a bound on observations, or while not running.
   */
  resume(endpoint: Endpoint, kept: KeptObservation, options: ObserveOptions): Observation | undefined {
    const peer = this.#peers.of(endpoint);
    if (this.#state !== 'running' || peer === undefined) return undefined;
    return this.#observations.resume({ ...kept, peer }, options, kept.sequence);
  }

  /** The endpoint at a place; undefined where it is not listened there any more, or only to those who prove themselves. */
  endpointAt({ url, address, port }: Place): Endpoint | undefined {
    const transport = this.#deps.transports.find((one) => one.url === url && !one.secure);
    return transport === undefined ? undefined : this.#peers.at(transport, address, port);
  }

  /** The observation of that endpoint and token. */
  observationOf(endpoint: Endpoint, token: Uint8Array): Observation | undefined {
    const peer = this.#peers.of(endpoint);
    return peer === undefined ? undefined : this.#observations.find(peer, token);
  }

  /** What is alive now. */
  diagnostics(): CoapDiagnostics {
    return {
      endpoints: this.#peers.size,
      pending: this.#exchanges.size,
      remembered: this.#deduplicator.size,
      rememberedBytes: this.#deduplicator.replyBytes,
      inFlight: this.#outbox.inFlight,
      queued: this.#outbox.queued,
      queuedBytes: this.#outbox.queuedBytes,
      observations: this.#observations.size,
      uploads: this.#uploads.size,
      uploadBytes: this.#uploads.bytes,
      representations: this.#representations.size,
      representationBytes: this.#representations.bytes,
    };
  }

  #received(transport: Transport, datagram: Buffer, address: string, port: number, session?: TransportSession): void {
    if (this.#state === 'stopped') return;
    const peer = this.#peers.at(transport, address, port, session);
    const taking = this.#state === 'running' || transport.held === true;
    this.#dispatcher.received(peer, datagram, taking);
    if (this.#exchanges.size > 0) this.#armTick();
  }

  /** What was to be sent to that session is sent to nobody. */
  #ended(transport: Transport, session: TransportSession): void {
    const peer = this.#peers.ofSession(transport, session);
    if (peer === undefined) return;
    this.#observations.endAll('gone', peer);
    this.#outbox.forget(peer);
  }

  #send(transport: Transport, datagram: Uint8Array, address: string, port: number, session?: TransportSession): void {
    try {
      transport.send(datagram, address, port, session);
    } catch (thrown) {
      this.#sendFailed(thrown);
    }
  }

  #sendFailed(reason: unknown): void {
    this.#counters.sendErrors.add();
    this.#deps.logger.debug({ reason: reasonOf(reason) }, 'a CoAP datagram could not be sent');
  }

  /** One timer for all ACKs and retransmissions; it ends by itself when there is nothing to watch. */
  #armTick(): void {
    if (this.#state === 'stopped') return;
    this.#tick ??= this.#clock.after('coap tick', tickEvery, () => {
      this.#tick = undefined;
      const now = this.#clock.monotonic();
      this.#exchanges.tick(now);
      this.#outbox.tick(now);
      if (this.#exchanges.size > 0 || this.#outbox.inFlight > 0) this.#armTick();
    });
  }

  #sweepAll(): void {
    const now = this.#clock.monotonic();
    this.#deduplicator.sweep(now);
    this.#uploads.sweep(now);
    this.#representations.sweep(now);
  }
}
