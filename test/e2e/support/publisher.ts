import { createSocket, type Socket } from 'node:dgram';
import mqtt, { type MqttClient } from 'mqtt';
import type { Login } from './collector.ts';

/** What a publisher knows: what it sent, and which of it was acknowledged. Payloads are `name:serial`. */
export interface Publisher {
  readonly name: string;
  readonly acknowledged: readonly number[];
  stop(): Promise<void>;
}

/** How a publisher goes about it. */
export interface PublisherOptions {
  /** Stands before the name in the topic; `load/` by default. */
  readonly prefix?: string;
  readonly qos?: 1 | 2;
  readonly login?: Login;
  /** Milliseconds between an acknowledgement and the next message; 0 by default. */
  readonly pace?: number;
  /** The query of each request over CoAP: who sends it, where a token is asked for. */
  readonly query?: () => readonly string[];
}

/** A CON publisher, one request at a time, made by hand: it goes on through refusals and silence, with a new serial each time. */
export class CoapPublisher implements Publisher {
  readonly name: string;
  readonly acknowledged: number[] = [];
  readonly #socket: Socket;
  readonly #port: () => number;
  readonly #options: PublisherOptions;
  #serial = 0;
  #mid = Math.floor(Math.random() * 65_536);
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(name: string, port: () => number, options: PublisherOptions = {}) {
    this.name = name;
    this.#port = port;
    this.#options = options;
    this.#socket = createSocket('udp4');
    this.#socket.on('error', () => undefined);
    this.#socket.on('message', (data) => {
      if (data.length < 4 || data.readUInt16BE(2) !== this.#mid) return;
      if (data[1] === 0x44) this.acknowledged.push(this.#serial);
      clearTimeout(this.#timer);
      const pace = this.#options.pace ?? 0;
      if (data[1] === 0x44 && pace === 0) this.#next();
      else if (data[1] === 0x44) this.#timer = setTimeout(() => this.#next(), pace);
      else this.#timer = setTimeout(() => this.#next(), 50);
    });
    this.#socket.bind(0, '127.0.0.1', () => this.#next());
  }

  #next(): void {
    if (this.#stopped) return;
    this.#serial += 1;
    this.#mid = (this.#mid + 1) & 0xffff;
    const payload = Buffer.from(`${this.name}:${this.#serial}`);
    const topic = Buffer.from(this.name);
    const head = Buffer.from([0x44, 0x02, this.#mid >> 8, this.#mid & 0xff, 1, 2, 3, 4, 0xb2, 0x70, 0x73]);
    const packet = Buffer.concat([
      head,
      Buffer.from([0x04]),
      Buffer.from('load'),
      Buffer.from([topic.length]),
      topic,
      ...queryOptions(this.#options.query?.() ?? []),
      Buffer.from([0xff]),
      payload,
    ]);
    this.#socket.send(packet, this.#port(), '127.0.0.1', () => undefined);
    // silence for so long: the daemon was killed; this one stays unacknowledged
    this.#timer = setTimeout(() => this.#next(), 400);
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    clearTimeout(this.#timer);
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }
}

/** Uri-Query options (15) behind Uri-Path (11), each of 268 bytes at most (RFC 7252 §3.1). */
function queryOptions(query: readonly string[]): Buffer[] {
  return query.map((text, at) => {
    const value = Buffer.from(text);
    const delta = at === 0 ? 0x40 : 0;
    const head = value.length < 13 ? [delta | value.length] : [delta | 13, value.length - 13];
    return Buffer.concat([Buffer.from(head), value]);
  });
}

/** An MQTT publisher with QoS 1 or 2, one message at a time, over reconnects. */
export class MqttPublisher implements Publisher {
  readonly name: string;
  readonly acknowledged: number[] = [];
  readonly #client: MqttClient;
  readonly #options: PublisherOptions;
  #serial = 0;
  #stopped = false;

  constructor(name: string, port: number, options: PublisherOptions = {}) {
    this.name = name;
    this.#options = options;
    this.#client = mqtt.connect(`mqtt://127.0.0.1:${port}`, {
      clientId: name,
      ...options.login,
      protocolVersion: 4,
      reconnectPeriod: 50,
      connectTimeout: 2_000,
      queueQoSZero: false,
      clean: true,
    });
    this.#client.on('error', () => undefined);
    this.#client.once('connect', () => this.#next());
  }

  #next(): void {
    if (this.#stopped) return;
    this.#serial += 1;
    const serial = this.#serial;
    const { prefix = 'load/', qos = 1, pace = 0 } = this.#options;
    this.#client.publish(`${prefix}${this.name}`, `${this.name}:${serial}`, { qos }, (error) => {
      if (!error) this.acknowledged.push(serial);
      if (pace === 0) this.#next();
      else setTimeout(() => this.#next(), pace);
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#client.endAsync(true).catch(() => undefined);
  }
}
