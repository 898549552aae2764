import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { type Frame, Framer, levelOf, readAck, readPublish } from './mqtt-frames.ts';

/** Towards the broker, or from it. */
export type Way = 'up' | 'down';

/** What passes a proxy, in the order in which it arrives there, whether or not it gets through. */
export interface Traffic {
  /** The broker accepted a connection, and the gateway was told. */
  linked(): void;
  /** A PUBLISH of QoS 1 or 2 from the gateway. */
  published(topic: string, payload: string): void;
  /** The broker's PUBACK or PUBCOMP for one on the same connection. */
  acknowledged(payload: string): void;
  /** The same with a reason code from 0x80 on. */
  refused(payload: string, code: number): void;
  /** A PUBLISH of QoS 1 from the broker. */
  offered(topic: string, payload: string): void;
  /** The gateway's PUBACK for one on the same connection. */
  taken(payload: string): void;
}

/** How new connections are met. */
type Reception = 'forward' | 'silence' | 'refuse';

/**
 * A TCP proxy between a gateway and its broker that reads along and misbehaves on command.
 *
 * A black hole goes on accepting bytes and forwards none; a connection that was there before never recovers, as with a
 * translation of addresses that was forgotten, and where the way to the broker was gone the broker hears nothing of its
 * end either. A cut forwards a packet's first half, then closes.
 */
export class FaultProxy {
  readonly port: number;
  readonly target: number;
  readonly #traffic: Traffic;
  readonly #carriers = new Set<Carrier>();
  #server: Server | undefined;
  #reception: Reception = 'forward';
  readonly hole = new Set<Way>();
  /** Milliseconds for which what passes is held. */
  delay = 0;
  /** The next packet that begins on this way is the last, and only half of it. */
  cut: Way | undefined;

  constructor(port: number, target: number, traffic: Traffic) {
    this.port = port;
    this.target = target;
    this.#traffic = traffic;
  }

  /** Takes connections, again after `close`. */
  async open(): Promise<void> {
    const server = createServer((socket) => {
      const carrier = new Carrier(this, this.#reception, socket, this.#traffic, () => this.#carriers.delete(carrier));
      this.#carriers.add(carrier);
    });
    this.#server = server;
    server.listen(this.port, '127.0.0.1');
    await once(server, 'listening');
  }

  /** Ends all connections and refuses new ones. */
  async close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    const closed = server === undefined ? undefined : once(server, 'close');
    server?.close();
    for (const carrier of this.#carriers) carrier.destroy();
    await closed;
  }

  /** Ends all connections with RST. */
  reset(): void {
    for (const carrier of this.#carriers) carrier.reset();
  }

  /** Black-holes what there is and what comes, until `mend`. */
  swallow(ways: readonly Way[]): void {
    for (const way of ways) this.hole.add(way);
    for (const carrier of this.#carriers) for (const way of ways) carrier.holed.add(way);
  }

  /** From now on connections are accepted and CONNECT is never answered (`silence`), or answered "not authorised". */
  receive(reception: 'silence' | 'refuse'): void {
    this.#reception = reception;
    this.reset();
  }

  /** New connections go through again; those whose CONNECT went into silence or a hole are closed. */
  mend(): void {
    this.#reception = 'forward';
    this.hole.clear();
    this.delay = 0;
    this.cut = undefined;
    for (const carrier of this.#carriers) if (carrier.stillborn) carrier.destroy();
  }
}

/** One connection of the gateway and what it was forwarded to. */
class Carrier {
  readonly holed: Set<Way>;
  readonly #reception: Reception;
  readonly #proxy: FaultProxy;
  readonly #traffic: Traffic;
  readonly #gateway: Socket;
  readonly #broker: Socket | undefined;
  readonly #framers = { up: new Framer(), down: new Framer() };
  readonly #waiting = { up: [] as Buffer[], down: [] as Buffer[] };
  /** Payloads by packet identifier, of what was published and not acknowledged. */
  readonly #published = new Map<number, string>();
  readonly #offered = new Map<number, string>();
  #five = false;
  #answered = false;
  #cut = false;

  constructor(proxy: FaultProxy, reception: Reception, gateway: Socket, traffic: Traffic, gone: () => void) {
    this.#proxy = proxy;
    this.#reception = reception;
    this.holed = new Set(proxy.hole);
    this.#traffic = traffic;
    this.#gateway = gateway;
    const broker = reception === 'forward' ? connect(proxy.target, '127.0.0.1') : undefined;
    this.#broker = broker;
    gateway.setNoDelay(true).on('error', () => undefined);
    gateway.on('data', (chunk: Buffer) => this.#carry('up', chunk));
    gateway.on('close', () => {
      if (!this.holed.has('up')) broker?.end();
      if (broker === undefined || broker.destroyed) gone();
    });
    broker?.setNoDelay(true).on('error', () => undefined);
    broker?.on('data', (chunk: Buffer) => this.#carry('down', chunk));
    broker?.on('close', () => {
      if (!this.holed.has('down')) gateway.end();
      if (gateway.destroyed) gone();
    });
  }

  /** It will never be answered. */
  get stillborn(): boolean {
    return !this.#answered && (this.#reception !== 'forward' || this.holed.size > 0);
  }

  destroy(): void {
    this.#gateway.destroy();
    this.#broker?.destroy();
  }

  reset(): void {
    this.#gateway.resetAndDestroy();
    if (this.#broker?.connecting === true) this.#broker.destroy();
    else this.#broker?.resetAndDestroy();
  }

  #carry(way: Way, chunk: Buffer): void {
    if (this.#cut) return;
    const middle = this.#proxy.cut === way ? this.#framers[way].middle(chunk) : undefined;
    const bytes = middle === undefined ? chunk : chunk.subarray(0, middle);
    for (const frame of this.#framers[way].push(bytes)) this.#read(way, frame);
    if (middle !== undefined) {
      this.#cut = true;
      this.#proxy.cut = undefined;
    }
    const to = way === 'up' ? this.#broker : this.#gateway;
    if (to === undefined || this.holed.has(way)) return;
    const waiting = this.#waiting[way];
    if (this.#proxy.delay === 0 && waiting.length === 0) this.#forward(to, bytes);
    else {
      waiting.push(bytes);
      const due = () => {
        const next = waiting.shift();
        if (next !== undefined && !this.holed.has(way)) this.#forward(to, next);
      };
      setTimeout(due, this.#proxy.delay);
    }
  }

  #forward(to: Socket, bytes: Buffer): void {
    if (!to.destroyed) to.write(bytes, this.#cut ? () => this.destroy() : undefined);
  }

  #read(way: Way, frame: Frame): void {
    const { type, qos } = frame;
    if (way === 'up') {
      if (type === 1) this.#connecting(frame);
      if (type === 3 && qos > 0) this.#note(this.#published, frame, 'published');
      if (type === 4) this.#settle(this.#offered, frame, (payload) => this.#traffic.taken(payload));
      return;
    }
    if (type === 2 && !this.holed.has('down')) {
      this.#answered = true;
      if (frame.body[1] === 0) this.#traffic.linked();
    }
    if (type === 3 && qos > 0) this.#note(this.#offered, frame, 'offered');
    if (type === 4 || type === 7 || (type === 5 && (frame.body[2] ?? 0) >= 0x80)) {
      this.#settle(this.#published, frame, (payload, code) => {
        if (code < 0x80) this.#traffic.acknowledged(payload);
        else this.#traffic.refused(payload, code);
      });
    }
  }

  #connecting(frame: Frame): void {
    this.#five = levelOf(frame) === 5;
    // not authorised: 0x87 in MQTT 5, 5 in 3.1.1
    if (this.#reception === 'refuse') this.#gateway.end(Buffer.from(this.#five ? '2003008700' : '20020005', 'hex'));
  }

  #note(to: Map<number, string>, frame: Frame, as: 'published' | 'offered'): void {
    const { id, topic, payload } = readPublish(frame, this.#five);
    to.set(id, payload);
    this.#traffic[as](topic, payload);
  }

  #settle(from: Map<number, string>, frame: Frame, told: (payload: string, code: number) => void): void {
    const { id, code } = readAck(frame);
    const payload = from.get(id);
    from.delete(id);
    if (payload !== undefined) told(payload, code);
  }
}
