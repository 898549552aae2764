import { expect } from 'vitest';
import {
  type CoapDiagnostics,
  type CoapOptions,
  type CoapRequest,
  type CoapResponse,
  CoapServer,
  codes,
  codeText,
  decode,
  encode,
  type Respond,
  type Transport,
  type TransportListener,
} from '../../../src/coap/index.ts';
import { type Logger, Metrics, silentLogger } from '../../../src/telemetry/index.ts';
import { FakeClock } from '../../support/fake-clock.ts';

/** A datagram that the server sent, read again. */
export interface Sent {
  readonly type: 'CON' | 'NON' | 'ACK' | 'RST';
  readonly code: string;
  readonly mid: number;
  readonly token: string;
  readonly payload: string;
  /** Values of options by number; integers for the ones that are. */
  readonly options: Readonly<Record<number, Buffer>>;
  readonly to: string;
  readonly bytes: Buffer;
}

const typeNames = ['CON', 'NON', 'ACK', 'RST'] as const;

/** A transport in memory: what arrives is given, what is sent is kept. */
export class MemoryTransport implements Transport {
  readonly url = 'coap://memory:5683';
  readonly secure = false;
  held = false;
  paused = false;
  readonly sent: Sent[] = [];
  listener: TransportListener | undefined;
  /** Thrown by the next sends, as `dgram` does. */
  failure: Error | undefined;

  async start(listener: TransportListener): Promise<void> {
    this.listener = listener;
  }

  pause(): void {
    this.paused = true;
  }

  async stop(): Promise<void> {
    this.listener = undefined;
  }

  send(datagram: Uint8Array, address: string, port: number): void {
    if (this.failure !== undefined) throw this.failure;
    const bytes = Buffer.from(datagram);
    const message = decode(bytes);
    if (message.problem !== undefined) throw new Error(`the server sent what it cannot read: ${bytes.toString('hex')}`);
    const options: Record<number, Buffer> = {};
    for (let at = 0; at < message.options.length; at += 3) {
      options[message.options[at] as number] = bytes.subarray(message.options[at + 1], message.options[at + 2]);
    }
    this.sent.push({
      type: typeNames[message.type as 0 | 1 | 2 | 3],
      code: codeText(message.code),
      mid: message.messageId,
      token: message.token.toString('hex'),
      payload: message.payload.toString(),
      options,
      to: `${address}:${port}`,
      bytes,
    });
  }
}

export const optionNumber = {
  ifMatch: 1,
  uriHost: 3,
  etag: 4,
  ifNoneMatch: 5,
  observe: 6,
  uriPort: 7,
  uriPath: 11,
  contentFormat: 12,
  maxAge: 14,
  uriQuery: 15,
  accept: 17,
  block2: 23,
  block1: 27,
  size2: 28,
  proxyUri: 35,
  proxyScheme: 39,
  size1: 60,
  requestTag: 292,
};

/** An integer option value. */
export function uint(value: number): Buffer {
  const hex = value === 0 ? '' : value.toString(16);
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
}

export function intOf(value: Buffer | undefined): number | undefined {
  return value === undefined ? undefined : value.length === 0 ? 0 : value.readUIntBE(0, value.length);
}

/** `num/more/size` of a block option, as RFC 7959 §3 writes it. */
export function blockText(value: Buffer | undefined): string | undefined {
  const whole = intOf(value);
  return whole === undefined ? undefined : `${whole >>> 4}/${(whole >> 3) & 1}/${16 << (whole & 7)}`;
}

export function block(num: number, more: boolean, size: number): Buffer {
  return uint(num * 16 + (more ? 8 : 0) + (Math.log2(size) - 4));
}

export interface Ask {
  readonly type?: 'CON' | 'NON' | 'ACK' | 'RST';
  readonly code?: number;
  readonly mid?: number;
  readonly token?: string;
  readonly path?: string;
  readonly query?: readonly string[];
  readonly observe?: number;
  readonly options?: readonly (readonly [number, Uint8Array])[];
  readonly payload?: string | Uint8Array;
}

/** The datagram of a request; a CON POST of /a with message id 1 and token 01 by default. */
export function request(ask: Ask = {}): Buffer {
  const options: (readonly [number, Uint8Array])[] = [];
  if (ask.observe !== undefined) options.push([optionNumber.observe, uint(ask.observe)]);
  for (const segment of (ask.path ?? 'a').split('/')) options.push([optionNumber.uriPath, Buffer.from(segment)]);
  for (const query of ask.query ?? []) options.push([optionNumber.uriQuery, Buffer.from(query)]);
  options.push(...(ask.options ?? []));
  return encode({
    type: typeNames.indexOf(ask.type ?? 'CON'),
    code: ask.code ?? 2,
    messageId: ask.mid ?? 1,
    token: Buffer.from(ask.token ?? '01', 'hex'),
    options,
    payload: typeof ask.payload === 'string' ? Buffer.from(ask.payload) : (ask.payload ?? Buffer.alloc(0)),
  });
}

/** An empty ACK, RST, CON (ping) or NON. */
export function empty(type: 'CON' | 'NON' | 'ACK' | 'RST', mid: number): Buffer {
  return encode({ type: typeNames.indexOf(type), code: 0, messageId: mid });
}

export interface Handled {
  readonly request: CoapRequest;
  readonly respond: Respond;
}

/** A server on a memory transport and a clock that stands still. */
export class Wire {
  readonly clock = new FakeClock();
  readonly metrics = new Metrics();
  readonly transport = new MemoryTransport();
  readonly handled: Handled[] = [];
  readonly server: CoapServer;
  /** Answers at once; undefined leaves the request waiting in `handled`. */
  answer: (request: CoapRequest) => CoapResponse | undefined = () => ({ code: codes.changed });

  constructor(options: Partial<CoapOptions> = {}, logger: Logger = silentLogger) {
    this.server = new CoapServer({
      transports: [this.transport],
      clock: this.clock,
      logger,
      metrics: this.metrics,
      options,
      random: () => 0,
      handler: {
        handle: (incoming, respond) => {
          this.handled.push({ request: incoming, respond });
          const response = this.answer(incoming);
          if (response !== undefined) respond(response);
        },
      },
    });
  }

  static async started(options: Partial<CoapOptions> = {}, logger: Logger = silentLogger): Promise<Wire> {
    const wire = new Wire(options, logger);
    await wire.server.start();
    return wire;
  }

  /** A datagram arrives; what the server sent for it at once. */
  receive(datagram: Buffer, port = 40_000, address = '192.0.2.1'): Sent[] {
    this.take();
    this.transport.listener?.received(Buffer.from(datagram), address, port);
    return this.take();
  }

  /** Time passes; what was sent meanwhile. */
  pass(ms: number): Sent[] {
    this.take();
    this.clock.advance(ms);
    return this.take();
  }

  /** What was sent since the last look. */
  take(): Sent[] {
    return this.transport.sent.splice(0);
  }

  last(): Handled {
    const handled = this.handled.at(-1);
    if (handled === undefined) throw new Error('no request was handled');
    return handled;
  }

  count(name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
    return this.metrics.value(`holdfast_coap_${name}`, labels);
  }

  /** Nothing goes on, nothing is kept once everything has expired, and no timer stays behind. */
  async finished(): Promise<void> {
    const { pending, inFlight, queued, queuedBytes } = this.server.diagnostics();
    expect({ pending, inFlight, queued, queuedBytes }).toEqual({ pending: 0, inFlight: 0, queued: 0, queuedBytes: 0 });
    this.clock.advance(300_000);
    await this.server.stop();
    expect(Object.entries(this.server.diagnostics()).filter(([, value]) => value !== 0)).toEqual([]);
    expect(this.clock.armed).toEqual([]);
  }

  diagnostics(): CoapDiagnostics {
    return this.server.diagnostics();
  }
}
