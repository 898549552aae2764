import { Aedes, type Client } from 'aedes';
import type { Service } from '../base/index.ts';
import type { Message } from '../domain/index.ts';
import type { Logger, Metrics } from '../telemetry/index.ts';
import { type AdmissionDeps, MqttAdmission } from './admission.ts';
import { MqttListener, type MqttListenerOptions } from './listener.ts';
import { type RetainedSource, sessionPersistence } from './persistence.ts';
import { BrokerRouter } from './router.ts';

/** Where the broker gets every message from, whatever door it came in by. */
export interface MessageSource {
  onMessage(subscriber: (message: Message) => void): () => void;
  readonly retained: RetainedSource;
}

export interface BrokerOptions {
  readonly listeners: readonly MqttListenerOptions[];
  /** Milliseconds that a connection may take to its CONNECT. */
  readonly connectTimeout: number;
  readonly maxInflight: number;
}

export interface BrokerDeps extends Omit<AdmissionDeps, 'logger' | 'metrics'> {
  readonly source: MessageSource;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly options: BrokerOptions;
}

/** A frozen subscriber is let go after this long, milliseconds. */
const drainTimeout = 5_000;

/** The MQTT side: aedes as the hub, with or without listeners. */
export class Broker implements Service {
  readonly name = 'broker';
  readonly #deps: BrokerDeps;
  #aedes: Aedes | undefined;
  #listeners: MqttListener[] = [];
  #unsubscribe: (() => void) | undefined;

  constructor(deps: BrokerDeps) {
    this.#deps = deps;
  }

  /** Addresses that it listens on. */
  get urls(): readonly string[] {
    return this.#listeners.map((listener) => listener.url);
  }

  async start(): Promise<void> {
    const { source, logger, metrics, options } = this.#deps;
    const admission = new MqttAdmission(this.#deps);
    const aedes = new Aedes({
      ...admission.hooks,
      id: 'holdfast',
      persistence: sessionPersistence(source.retained),
      connectTimeout: options.connectTimeout,
      drainTimeout,
      maxInflightInbound: options.maxInflight,
      maxClientsIdLength: 64,
      // packets of a client that are still on their way to the disk
      queueLimit: 1_000,
    });
    this.#aedes = aedes;
    const router = new BrokerRouter(aedes, logger);
    metrics.gauge('holdfast_broker_queue_messages', 'Messages on their way to MQTT subscribers.', () => router.length);
    await (aedes as unknown as { listen(): Promise<void> }).listen();
    aedes.on('clientReady', (client) => admission.ready(client));
    aedes.on('clientDisconnect', (client) => admission.gone(client));
    aedes.on('keepaliveTimeout', (client) => admission.failed(client, 'keepalive_timeout'));
    aedes.on('clientError', (client, error) => {
      admission.failed(client, 'code' in error ? 'socket_error' : 'protocol_error');
      logger.info({ client: client.id, reason: error.message }, 'a client was disconnected');
    });
    aedes.on('connectionError', (_client: Client, error) =>
      logger.debug({ reason: error.message }, 'a connection failed'),
    );
    this.#unsubscribe = source.onMessage((message) => router.route(message));
    for (const listenerOptions of options.listeners) {
      const listener = new MqttListener(listenerOptions, (stream) => aedes.handle(stream), logger);
      this.#listeners.push(listener);
      await listener.start();
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#listeners.map((listener) => listener.stop()));
    this.#unsubscribe?.();
    const aedes = this.#aedes;
    if (aedes !== undefined) await new Promise<void>((resolve) => aedes.close(() => resolve()));
  }
}
