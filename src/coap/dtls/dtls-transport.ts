import { randomBytes } from 'node:crypto';
import type { Clock, Timer } from '../../base/index.ts';
import type { Logger, Metrics } from '../../telemetry/index.ts';
import type { Transport, TransportListener, TransportSession } from '../transport.ts';
import type { ServerCertificate } from './certificates.ts';
import { dtlsCounters } from './counters.ts';
import { DtlsServer } from './dtls-server.ts';
import type { PskKeys } from './key-exchange.ts';
import { type DtlsOptions, defaultDtlsOptions } from './options.ts';
import { DtlsSession } from './session.ts';

/** What carries the records: UDP, or a test's memory. */
export type Carrier = Pick<Transport, 'url' | 'start' | 'send' | 'stop'>;

export interface DtlsTransportDeps {
  readonly carrier: Carrier;
  readonly psk: PskKeys;
  /** For suites with certificates; asked at the start. */
  readonly certificate?: (() => Promise<ServerCertificate>) | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** What differs from `defaultDtlsOptions`. */
  readonly options?: Partial<DtlsOptions>;
  readonly random?: (length: number) => Buffer;
}

/** Milliseconds between looks at flights that may be due, while there are handshakes. */
const tickEvery = 250;
const sweepEvery = 30_000;

/** CoAP over DTLS: the server's sessions over datagrams of a carrier. */
export class DtlsTransport implements Transport {
  readonly secure = true;
  readonly #deps: DtlsTransportDeps;
  readonly #server: DtlsServer;
  #listener: TransportListener | undefined;
  #tick: Timer | undefined;
  #sweep: Timer | undefined;

  constructor(deps: DtlsTransportDeps) {
    const { clock, logger, metrics } = deps;
    this.#deps = deps;
    this.#server = new DtlsServer(
      {
        options: { ...defaultDtlsOptions, ...deps.options },
        psk: deps.psk,
        wall: () => clock.wall(),
        counters: dtlsCounters(metrics),
        random: deps.random ?? randomBytes,
        sink: {
          send: (datagram, address, port) => this.#carry(datagram, address, port),
          received: (content, session) => this.#listener?.received(content, session.address, session.port, session),
          ended: (session, reason) => {
            logger.debug({ identity: session.identity, reason }, 'a DTLS session ended');
            this.#listener?.ended?.(session);
          },
        },
      },
      clock.monotonic(),
    );
    const labels = { listener: this.url };
    metrics.gauge('holdfast_dtls_sessions', 'DTLS sessions.', () => this.#server.sessions, labels);
    metrics.gauge('holdfast_dtls_handshakes', 'DTLS handshakes that go on.', () => this.#server.handshakes, labels);
    metrics.gauge(
      'holdfast_dtls_resumable',
      'DTLS sessions that may be resumed.',
      () => this.#server.resumable,
      labels,
    );
  }

  get url(): string {
    return this.#deps.carrier.url.replace(/^coap:/, 'coaps:');
  }

  async start(listener: TransportListener): Promise<void> {
    const { carrier, certificate, clock } = this.#deps;
    this.#server.certificate = await certificate?.();
    this.#listener = listener;
    this.#sweep = clock.every('dtls sweep', sweepEvery, () => this.#server.sweep(clock.monotonic()));
    try {
      await carrier.start({
        received: (datagram, address, port) => this.#received(datagram, address, port),
        failed: (reason) => listener.failed(reason),
      });
    } catch (thrown) {
      this.#sweep.cancel();
      throw thrown;
    }
  }

  send(datagram: Uint8Array, _address: string, _port: number, session?: TransportSession): void {
    if (session instanceof DtlsSession) this.#server.send(session, datagram);
  }

  /** What was proved with former keys of these identities is void: their sessions end. */
  revoke(identities: ReadonlySet<string>): void {
    this.#server.revoke(identities, this.#deps.clock.monotonic());
  }

  async stop(): Promise<void> {
    this.#server.close();
    this.#listener = undefined;
    this.#tick?.cancel();
    this.#sweep?.cancel();
    await this.#deps.carrier.stop();
  }

  #received(datagram: Buffer, address: string, port: number): void {
    if (port === 0 || this.#listener === undefined) return;
    this.#server.received(datagram, address, port, this.#deps.clock.monotonic());
    this.#armTick();
  }

  /** One timer for all flights; it ends by itself when no handshake goes on. */
  #armTick(): void {
    if (this.#server.handshakes === 0) return;
    const { clock } = this.#deps;
    this.#tick ??= clock.after('dtls tick', tickEvery, () => {
      this.#tick = undefined;
      this.#server.tick(clock.monotonic());
      this.#armTick();
    });
  }

  #carry(datagram: Buffer, address: string, port: number): void {
    try {
      this.#deps.carrier.send(datagram, address, port);
    } catch (thrown) {
      this.#listener?.failed(thrown instanceof Error ? thrown : new Error(String(thrown)));
    }
  }
}
