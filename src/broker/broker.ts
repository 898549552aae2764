import { Aedes, type Client } from 'aedes';
import type { Clock, Service } from '../base/index.ts';
import type { Message, QoS } from '../domain/index.ts';
import type { NumberedSource, SessionStore } from '../sessions/index.ts';
import { type AdmissionDeps, MqttAdmission } from './admission.ts';
import { ConnectRate } from './connect-rate.ts';
import { connectedClient, connectedClients, type RetainedSource, subscriptionsOf } from './forwarding.ts';
import { Hub } from './hub.ts';
import { type ListenerDeps, MqttListener, type MqttListenerOptions } from './listener.ts';
import type { WindowOptions } from './outgoing.ts';
import { PacketStream } from './packet-stream.ts';
import { SessionPersistence, topicsDue } from './persistence.ts';
import { RepeatedFilters, type SubscribePacket } from './repeated-filters.ts';

import { makeStrict } from './strict-parser.ts';
import { loadCounts, sysFigures } from './sys-figures.ts';
import { type Figure, type SysDeps, SysTopics } from './sys-topics.ts';
import { Traffic } from './traffic.ts';

/** Where the broker gets every message from, whatever door it came in by. */
export interface MessageSource extends NumberedSource {
  readonly retained: RetainedSource;
}

export interface BrokerOptions {
  readonly listeners: readonly MqttListenerOptions[];
  /** Milliseconds that a connection may take to its CONNECT. */
  readonly connectTimeout: number;
  /** QoS 2 messages from one client that it has not released. */
  readonly maxInflight: number;
  readonly queue: Omit<WindowOptions, 'maxInflight'>;
  /** Connections taken per second, over all listeners; 0 = any number. */
  readonly connectRate: number;
  readonly sys: Pick<SysDeps, 'interval' | 'node'> & { readonly version: string };
}

export interface BrokerDeps
  extends Omit<AdmissionDeps, 'sessions' | 'retained' | 'traffic' | 'window' | 'hub' | 'maxHandshakes'> {
  readonly source: MessageSource;
  /** Started before anything that publishes, and stopped after it. */
  readonly sessions: SessionStore;
  readonly clock: Clock;
  readonly options: BrokerOptions;
  /** What `$SYS/broker/` has of other parts. */
  readonly figures?: () => Iterable<Figure>;
}

type Published = (error: null) => void;

/** A frozen subscriber is let go after this long, milliseconds. */
const drainTimeout = 5_000;
/** How long a stop waits for wills, milliseconds. */
const willPatience = 1_000;

/** The MQTT side: aedes as the hub, with or without listeners. */
export class Broker implements Service {
  readonly name = 'broker';
  readonly #deps: BrokerDeps;
  #aedes: Aedes | undefined;
  #admission: MqttAdmission | undefined;
  #listeners: MqttListener[] = [];
  #unsubscribe: (() => void) | undefined;
  readonly #traffic: Traffic;
  #sys: SysTopics | undefined;

  constructor(deps: BrokerDeps) {
    this.#deps = deps;
    this.#traffic = new Traffic(deps.metrics);
  }

  /** Addresses that it listens on. */
  get urls(): readonly string[] {
    return this.#listeners.map((listener) => listener.url);
  }

  /** What a connected client has subscribed to, or what the session of one that is away holds. */
  subscriptions(clientId: string): readonly { readonly topic: string; readonly qos: QoS }[] {
    const client = connectedClient(this.#aedes, clientId);
    if (client !== undefined) {
      return Object.entries(subscriptionsOf(client)).map(([topic, { qos = 0 }]) => ({ topic, qos: qos as QoS }));
    }
    const session = this.#deps.sessions.sessions.get(clientId);
    return Array.from(session?.subscriptions.values() ?? [], ({ filter, qos }) => ({ topic: filter, qos }));
  }

  async start(): Promise<void> {
    const { source, logger, metrics, options, clock, sessions: store } = this.#deps;
    const { sessions } = store;
    sessions.restoreRetained((filter) => topicsDue(source.retained, filter));
    const hub = new Hub({ clock, sessions, written: () => store.flush(false) });
    const admission = new MqttAdmission({
      ...this.#deps,
      hub,
      sessions,
      retained: source.retained,
      traffic: this.#traffic,
      maxHandshakes: options.maxInflight,
      window: { ...options.queue, maxInflight: store.limits.inflight },
    });
    this.#admission = admission;
    const persistence = new SessionPersistence({
      retained: source.retained,
      store,
      granted: (subscription) => admission.wasGranted(subscription),
      usernameOf: (client) => admission.usernameOf(client as Client),
      acknowledged: (client, messageId) => admission.acknowledged(client, messageId),
      sys: (filter) => this.#sys?.matching(filter) ?? [],
    });
    const aedes = new Aedes({
      ...admission.hooks,
      id: 'holdfast',
      persistence,
      mq: hub.emitter,
      connectTimeout: options.connectTimeout,
      drainTimeout,
      // counted before a message is logged
      maxInflightInbound: 0,
      maxClientsIdLength: 64,
      // packets of a client that are still on their way to the disk
      queueLimit: 1_000,
    });
    this.#aedes = aedes;
    // what clients publish the pipeline has routed, and `$SYS` is ours
    const publish = (_packet: object, client: Client | Published | null, done?: Published) =>
      (typeof client === 'function' ? client : done)?.(null);
    Object.assign(aedes, { publish });
    await (aedes as unknown as { listen(): Promise<void> }).listen();
    aedes.on('client', (client) => admission.registered(client));
    aedes.on('clientReady', (client) => admission.ready(client));
    aedes.on('clientDisconnect', (client) => admission.gone(client));
    aedes.on('keepaliveTimeout', (client) => admission.failed(client, 'keepalive_timeout'));
    aedes.on('clientError', (client, error) => {
      // of what was still being handled
      if (client.closed) return;
      admission.failed(client, 'code' in error ? 'socket_error' : 'protocol_error');
      logger.info({ client: client.id, reason: error.message }, 'a client was disconnected');
    });
    aedes.on('connectionError', (_client: Client, error) =>
      logger.debug({ reason: error.message }, 'a connection failed'),
    );
    const repeated = new RepeatedFilters();
    aedes.on('subscribe', (granted, client) => {
      repeated.subscribed(granted, client);
      admission.subscribed(client, granted);
    });
    const unsubscribe = source.onMessage((message, id) => hub.route(message, id));
    const sys = this.#makeSys(aedes, hub);
    const unwatch = this.#deps.registry.watch((event) => sys.clientChanged(event));
    this.#sys = sys;
    this.#unsubscribe = () => {
      unsubscribe();
      unwatch();
      sys.stop();
    };
    sys.start();
    this.#publishWills();
    const on = {
      packet: (first: number) => this.#traffic.receivedPacket(first),
      subscribe: (packet: SubscribePacket) => repeated.look(packet),
    };
    const rate = new ConnectRate(options.connectRate, clock.monotonic());
    const refused = metrics.counter('holdfast_mqtt_connections_refused_total', 'Connections above the rate.');
    const listenerDeps: ListenerDeps = {
      handle: (stream, limits) => {
        this.#traffic.connections.add();
        const client = aedes.handle(stream);
        makeStrict(client, limits, on);
        new PacketStream(client, limits, {
          packet: on.packet,
          acknowledged: (messageId) => persistence.acknowledged(client, messageId),
          publish: (packet) => admission.received(client, packet),
        });
      },
      admits: () => {
        const admitted = rate.admits(clock.monotonic());
        if (!admitted) refused.add();
        return admitted;
      },
      clock,
      logger,
      handshakeTimeout: options.connectTimeout,
    };
    for (const listenerOptions of options.listeners) {
      const listener = new MqttListener(listenerOptions, listenerDeps);
      this.#listeners.push(listener);
      await listener.start();
    }
  }

  async stop(): Promise<void> {
    this.#admission?.stopping();
    await Promise.all(this.#listeners.map((listener) => listener.stop()));
    this.#unsubscribe?.();
    const aedes = this.#aedes;
    if (aedes === undefined) return;
    await new Promise<void>((resolve) => aedes.close(() => resolve()));
    await this.#willsPublished();
  }

  #makeSys(aedes: Aedes, hub: Hub): SysTopics {
    const { metrics, registry, options, figures, clock, sessions } = this.#deps;
    const total = (way: 'received' | 'sent') => () =>
      this.#listeners.reduce((bytes, listener) => bytes + listener.bytes[way], 0);
    const sources = {
      version: options.sys.version,
      clock,
      metrics,
      registry,
      sessions: sessions.sessions,
      traffic: this.#traffic,
      clients: () => connectedClients(aedes),
      bytes: { received: total('received'), sent: total('sent') },
      others: figures ?? (() => []),
    };
    return new SysTopics({
      ...options.sys,
      clock,
      hub,
      figures: sysFigures(sources),
      loads: loadCounts(sources),
    });
  }

  /** Those who were connected have vanished; a will that is on its way must not be published again at the next start. */
  async #willsPublished(): Promise<void> {
    const { clock, sessions } = this.#deps;
    const until = clock.monotonic() + willPatience;
    while (sessions.sessions.wills().length > 0 && clock.monotonic() < until) {
      await new Promise<void>((resolve) => clock.after('wills', 10, resolve));
    }
  }

  /** The wills of those who were connected when an earlier run ended. */
  #publishWills(): void {
    const { sink, logger } = this.#deps;
    const { sessions } = this.#deps.sessions;
    for (const row of sessions.wills()) {
      const { clientId, will } = row;
      const message: Message = { ...will, expiry: 0, origin: 'mqtt', upstream: '', clientId, connection: 0n };
      sink.publish(message, (error) => {
        if (error !== undefined) logger.warn({ client: clientId, reason: error.message }, 'a will was not published');
        if (sessions.will(clientId) === row && error?.transient !== true) sessions.deleteWill(clientId);
      });
    }
  }
}
