import { createSocket, type Socket } from 'node:dgram';
import { generate, type NamedOption, type ParsedPacket, parse } from 'coap-packet';

/**
 * A CoAP device in connection mode: logs in, observes a topic if it is given one, and sends heartbeats. It does both again
 * once the gateway no longer knows it.
 */
export class CoapDevice {
  /** Payloads of the notifications, in the order of their arrival; a retransmission is not noted twice. */
  readonly received: string[] = [];
  /** How often it was let in. */
  logins = 0;
  readonly #clientId: string;
  readonly #port: number;
  readonly #topic: string | undefined;
  readonly #notified: (payload: string) => void;
  readonly #socket: Socket;
  readonly #answers = new Map<string, (packet: ParsedPacket) => void>();
  readonly #seen = new Set<number>();
  #observation = '';
  #token: string | undefined;
  #observing = false;
  #mid = Math.floor(Math.random() * 65_536);
  #serial = 0;
  #epoch = 0;
  #stopped = false;

  constructor(clientId: string, port: number, topic?: string, notified: (payload: string) => void = () => undefined) {
    this.#clientId = clientId;
    this.#port = port;
    this.#topic = topic;
    this.#notified = notified;
    this.#socket = createSocket('udp4');
    this.#socket.on('error', () => undefined);
    this.#socket.on('message', (data) => this.#received(data));
    this.#socket.bind(0, '127.0.0.1', () => void this.#live());
  }

  /** What it puts in the query of a request; empty while it is not logged in. */
  get query(): readonly string[] {
    return this.#token === undefined ? [] : [`clientid=${this.#clientId}`, `token=${this.#token}`];
  }

  /** Whether the gateway has answered for the observation, and nothing has been heard of its end. */
  get observing(): boolean {
    return this.#observing;
  }

  /** It begins anew: its tokens and observations are gone. */
  forget(): void {
    this.#epoch += 1;
    this.#token = undefined;
    this.#observing = false;
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }

  async #live(): Promise<void> {
    while (!this.#stopped) {
      const epoch = this.#epoch;
      if (this.#token === undefined) await this.#login(epoch);
      else {
        const beat = await this.#request('PUT', ['mqtt', 'connection'], this.query);
        if (beat !== undefined && beat.code !== '2.01' && epoch === this.#epoch) this.forget();
      }
      await new Promise<void>((resolve) => setTimeout(resolve, this.#token === undefined ? 50 : 500));
    }
  }

  async #login(epoch: number): Promise<void> {
    this.#seen.clear();
    const login = await this.#request(
      'POST',
      ['mqtt', 'connection'],
      [`clientid=${this.#clientId}`, 'username=u', 'password=p'],
    );
    if (login?.code !== '2.01' || epoch !== this.#epoch) return;
    this.#token = `${login.payload}`;
    this.logins += 1;
    if (this.#topic === undefined) return;
    const observe = [{ name: 'Observe', value: Buffer.alloc(0) }] as const;
    const answer = await this.#request('GET', ['ps', ...this.#topic.split('/')], [...this.query, 'qos=1'], observe);
    if (epoch !== this.#epoch) return;
    this.#observing = answer?.options.some(({ name }) => name === 'Observe') === true;
    if (!this.#observing) this.forget();
  }

  /** Sends a CON, twice again where nothing comes back; undefined in the end. */
  async #request(
    code: 'GET' | 'POST' | 'PUT',
    path: readonly string[],
    query: readonly string[],
    more: readonly NamedOption[] = [],
  ): Promise<ParsedPacket | undefined> {
    this.#serial += 1;
    this.#mid = (this.#mid + 1) & 0xffff;
    const token = Buffer.alloc(4);
    token.writeUInt32BE(this.#serial);
    if (more.length > 0) this.#observation = token.toString('hex');
    const packet = generate({
      code,
      confirmable: true,
      messageId: this.#mid,
      token,
      options: [
        ...more,
        ...path.map((value) => ({ name: 'Uri-Path' as const, value: Buffer.from(value) })),
        ...query.map((value) => ({ name: 'Uri-Query' as const, value: Buffer.from(value) })),
      ],
    });
    const key = token.toString('hex');
    try {
      for (let attempt = 0; attempt < 3 && !this.#stopped; attempt++) {
        const answer = await new Promise<ParsedPacket | undefined>((resolve) => {
          const timer = setTimeout(() => resolve(undefined), 500);
          this.#answers.set(key, (parsed) => {
            clearTimeout(timer);
            resolve(parsed);
          });
          this.#socket.send(packet, this.#port, '127.0.0.1', () => undefined);
        });
        if (answer !== undefined) return answer;
      }
      return undefined;
    } finally {
      this.#answers.delete(key);
    }
  }

  #received(data: Buffer): void {
    const packet = parse(data);
    if (packet.code === '0.00') return;
    if (packet.confirmable) {
      this.#socket.send(generate({ code: '0.00', ack: true, messageId: packet.messageId }), this.#port, '127.0.0.1');
    }
    const key = packet.token.toString('hex');
    const answer = this.#answers.get(key);
    if (answer !== undefined) {
      answer(packet);
      return;
    }
    if (key !== this.#observation || packet.code !== '2.05' || this.#seen.has(packet.messageId)) return;
    this.#seen.add(packet.messageId);
    // identifiers come round after 65,536 of them
    if (this.#seen.size > 1_000) for (const oldest of this.#seen) if (this.#seen.size > 500) this.#seen.delete(oldest);
    this.received.push(`${packet.payload}`);
    this.#notified(`${packet.payload}`);
  }
}
