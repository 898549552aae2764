import { randomBytes } from 'node:crypto';
import type { ServerCertificate } from '../../../../src/coap/dtls/certificates.ts';
import { dtlsCounters } from '../../../../src/coap/dtls/counters.ts';
import { DtlsServer } from '../../../../src/coap/dtls/dtls-server.ts';
import { type DtlsOptions, defaultDtlsOptions } from '../../../../src/coap/dtls/options.ts';
import type { DtlsSession, SessionEnd } from '../../../../src/coap/dtls/session.ts';
import { Metrics } from '../../../../src/telemetry/index.ts';
import { Client, type ClientOptions } from './client.ts';

export const key = Buffer.alloc(16, 7);

export interface Sent {
  readonly datagram: Buffer;
  readonly address: string;
  readonly port: number;
}

/** The server's core with everything that it causes kept, and a time that stands still. */
export class World {
  now = 1_000_000;
  wall = Date.now();
  readonly metrics = new Metrics();
  readonly keys = new Map<string, Buffer>([
    ['dev', Buffer.from(key)],
    ['other', Buffer.alloc(16, 9)],
  ]);
  readonly sent: Sent[] = [];
  readonly received: { text: string; session: DtlsSession }[] = [];
  readonly ended: { session: DtlsSession; reason: SessionEnd }[] = [];
  readonly server: DtlsServer;

  constructor(options: Partial<DtlsOptions> = {}, deps: { certificate?: ServerCertificate } = {}) {
    this.server = new DtlsServer(
      {
        options: { ...defaultDtlsOptions, ...options },
        wall: () => this.wall,
        psk: { keyOf: (identity) => this.keys.get(identity) },
        counters: dtlsCounters(this.metrics),
        random: randomBytes,
        sink: {
          send: (datagram, address, port) => this.sent.push({ datagram: Buffer.from(datagram), address, port }),
          received: (content, session) => this.received.push({ text: content.toString(), session }),
          ended: (session, reason) => this.ended.push({ session, reason }),
        },
      },
      this.now,
    );
    this.server.certificate = deps.certificate;
  }

  /** Datagrams arrive; what the server sent for them. */
  arrive(datagrams: readonly Buffer[], port = 40_000, address = '192.0.2.1'): Buffer[] {
    this.sent.length = 0;
    for (const datagram of datagrams) this.server.received(Buffer.from(datagram), address, port, this.now);
    return this.take();
  }

  /** Time passes, with the ticks of a running transport; what the server sent meanwhile. */
  pass(ms: number): Buffer[] {
    this.sent.length = 0;
    for (const until = this.now + ms; this.now < until; ) {
      this.now = Math.min(until, this.now + 250);
      this.server.tick(this.now);
    }
    return this.take();
  }

  take(): Buffer[] {
    return this.sent.splice(0).map(({ datagram }) => datagram);
  }

  /** A handshake on a network without faults. */
  connect(options: ClientOptions = {}, port = 40_000, address = '192.0.2.1'): Client {
    const client = new Client(options);
    this.finish(client, client.start(), port, address);
    return client;
  }

  /** Carries datagrams to and fro until neither side has more to say. */
  finish(client: Client, datagrams: readonly Buffer[], port = 40_000, address = '192.0.2.1'): void {
    for (let flight = datagrams; flight.length > 0; ) {
      flight = this.arrive(flight, port, address).flatMap((datagram) => client.receive(datagram));
    }
  }

  /** The session that the last data came in on. */
  get session(): DtlsSession {
    const last = this.received.at(-1);
    if (last === undefined) throw new Error('nothing was received');
    return last.session;
  }

  count(name: string, labels: Readonly<Record<string, string>> = {}): number {
    return this.metrics.value(`holdfast_dtls_${name}_total`, labels) ?? Number.NaN;
  }
}
