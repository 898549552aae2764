import { createConnection, type Socket } from 'node:net';
import * as mqttPacket from 'mqtt-packet';

export type Packet = mqttPacket.Packet;
export type Kind = Packet['cmd'];
export type Of<K extends Kind> = Extract<Packet, { cmd: K }>;
export type QoS = 0 | 1 | 2;

export interface ConnectOptions extends Partial<Omit<mqttPacket.IConnectPacket, 'cmd'>> {}

/** How long an answer may take; a broker that is silent for so long will not answer, milliseconds. */
const patience = 5_000;

/** A client that sends the bytes it is told to, and keeps what it gets. Never answers by itself. */
export class Raw {
  readonly socket: Socket;
  /** Packets that nobody has taken yet, in order. */
  readonly got: Packet[] = [];
  /** Every byte that came. */
  bytes: Buffer = Buffer.alloc(0);
  ended = false;
  #wake: (() => void) | undefined;
  #fence = 0;

  constructor(port: number) {
    this.socket = createConnection(port, '127.0.0.1');
    this.socket.setNoDelay(true);
    const parser = mqttPacket.parser({ protocolVersion: 4 });
    parser.on('packet', (packet) => this.got.push(packet));
    parser.on('error', () => undefined);
    this.socket.on('data', (data) => {
      this.bytes = Buffer.concat([this.bytes, data]);
      parser.parse(data);
      this.#wake?.();
    });
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => {
      this.ended = true;
      this.#wake?.();
    });
  }

  send(packet: Packet): void {
    this.socket.write(mqttPacket.generate(packet));
  }

  /** Sends numbers as bytes, strings as UTF-8 with their length before them. */
  raw(...parts: readonly (number | string | Buffer)[]): void {
    this.socket.write(bytesOf(...parts));
  }

  async #until<T>(what: string, found: () => T | undefined): Promise<T> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.#wake?.();
    }, patience);
    try {
      for (;;) {
        const it = found();
        if (it !== undefined) return it;
        if (late || this.ended) {
          const state = this.ended ? 'the connection ended' : `nothing for ${patience} ms`;
          throw new Error(`${state} before ${what}; got ${JSON.stringify(this.got.map(({ cmd }) => cmd))}`);
        }
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Takes the first packet of that kind; those before it stay. */
  next<K extends Kind>(cmd: K): Promise<Of<K>> {
    return this.#until(cmd, () => {
      const at = this.got.findIndex((packet) => packet.cmd === cmd);
      const [found] = at < 0 ? [] : this.got.splice(at, 1);
      return found as Of<K> | undefined;
    });
  }

  /** Takes the next `count` messages. QoS 1 and 2 are answered where `answer`. */
  async messages(count: number, answer = true): Promise<Of<'publish'>[]> {
    const list: Of<'publish'>[] = [];
    while (list.length < count) {
      const one = await this.next('publish');
      list.push(one);
      if (answer && one.messageId !== undefined) await this.answer(one);
    }
    return list;
  }

  async answer({ qos, messageId = 0 }: Of<'publish'>): Promise<void> {
    if (qos === 1) this.send({ cmd: 'puback', messageId });
    if (qos !== 2) return;
    this.send({ cmd: 'pubrec', messageId });
    await this.next('pubrel');
    this.send({ cmd: 'pubcomp', messageId });
  }

  /** Resolved once the broker has closed the connection. */
  closed(ms = patience): Promise<true> {
    return new Promise((resolve, reject) => {
      if (this.ended) return resolve(true);
      const timer = setTimeout(() => reject(new Error('the broker has not closed the connection')), ms);
      this.socket.once('close', () => {
        clearTimeout(timer);
        resolve(true);
      });
    });
  }

  /** All that was sent before is handled, and all that was to come for it is in `got`, once this resolves. */
  async ping(): Promise<void> {
    this.send({ cmd: 'pingreq' });
    await this.next('pingresp');
  }

  /**
   * What comes on the client's subscriptions before a message that is published now. It goes by a topic of its own and by
   * the same way as others, so that what has not come before it will not come.
   */
  async before(qos: QoS = 1): Promise<string[]> {
    this.#fence += 1;
    const topic = `fence/${this.socket.localPort}/${this.#fence}`;
    await this.subscribe(topic, qos);
    await this.publish(topic, 'fence', { qos });
    for (;;) {
      await this.#until('the fence', () =>
        this.got.some((packet) => packet.cmd === 'publish' && packet.topic === topic) ? true : undefined,
      );
      const at = this.got.findIndex((packet) => packet.cmd === 'publish' && packet.topic === topic);
      const texts = this.got
        .slice(0, at)
        .flatMap((packet) => (packet.cmd === 'publish' ? [`${packet.topic}=${packet.payload}`] : []));
      const [fence] = this.got.splice(at, 1);
      if (fence?.cmd === 'publish') await this.answer(fence);
      return texts;
    }
  }

  async connect(options: ConnectOptions = {}): Promise<Of<'connack'>> {
    this.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: true,
      clientId: unique('c'),
      keepalive: 0,
      ...options,
    });
    return this.next('connack');
  }

  async subscribe(topic: string, qos: QoS = 0): Promise<number | undefined> {
    return (await this.subscribeAll([{ topic, qos }]))[0];
  }

  async subscribeAll(subscriptions: readonly { topic: string; qos: QoS }[], messageId = 10): Promise<number[]> {
    this.send({ cmd: 'subscribe', messageId, subscriptions: [...subscriptions] });
    const { granted } = await this.next('suback');
    return granted.map(Number);
  }

  async unsubscribe(...topics: string[]): Promise<void> {
    this.send({ cmd: 'unsubscribe', messageId: 11, unsubscriptions: topics });
    await this.next('unsuback');
  }

  /** Publishes and goes through the whole handshake; with QoS 0, until the broker has handled it. */
  async publish(
    topic: string,
    payload: string | Buffer,
    { qos = 0, retain = false, messageId = 1 }: { qos?: QoS; retain?: boolean; messageId?: number } = {},
  ): Promise<void> {
    this.send({ cmd: 'publish', topic, payload, qos, retain, dup: false, messageId });
    if (qos === 0) await this.ping();
    if (qos === 1) await this.next('puback');
    if (qos !== 2) return;
    await this.next('pubrec');
    this.send({ cmd: 'pubrel', messageId });
    await this.next('pubcomp');
  }

  async disconnect(): Promise<void> {
    if (this.ended) return;
    this.send({ cmd: 'disconnect' });
    await this.closed();
  }

  /** Ends without DISCONNECT. */
  vanish(): void {
    this.socket.destroy();
  }
}

let serial = 0;

/** A name that no other test has. */
export function unique(prefix: string): string {
  serial += 1;
  return `${prefix}${process.pid}-${serial}`;
}

export function bytesOf(...parts: readonly (number | string | Buffer)[]): Buffer {
  return Buffer.concat(
    parts.map((part) => {
      if (typeof part === 'number') return Buffer.from([part]);
      if (Buffer.isBuffer(part)) return part;
      const text = Buffer.from(part);
      return Buffer.concat([Buffer.from([text.length >> 8, text.length & 255]), text]);
    }),
  );
}

/** A packet of the body given, its length worked out. */
export function packetOf(first: number, ...body: readonly (number | string | Buffer)[]): Buffer {
  const bytes = bytesOf(...body);
  const length: number[] = [];
  let left = bytes.length;
  do {
    length.push((left % 128) | (left >= 128 ? 128 : 0));
    left = Math.floor(left / 128);
  } while (left > 0);
  return bytesOf(first, ...length, bytes);
}

/** A CONNECT as bytes; `flags` and what follows the client id as told. */
export function connectOf(
  given: { name?: string; level?: number; flags?: number; clientId?: string | Buffer; keepalive?: number } = {},
  ...rest: readonly (number | string | Buffer)[]
): Buffer {
  const { name = 'MQTT', level = 4, flags = 2, clientId = unique('b'), keepalive = 0 } = given;
  return packetOf(0x10, name, level, flags, keepalive >> 8, keepalive & 255, clientId, ...rest);
}
