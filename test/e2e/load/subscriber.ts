import { answerOf, Connection, idOf, packetOf, type QoS, textOf } from './connection.ts';
import { type MessageName, nameOf } from './publisher.ts';

/** A message that came more than once, and was not the same QoS 2 handshake sent again. */
export interface Repeat {
  readonly name: MessageName;
  /** When the connection was lost within a handshake of it. */
  readonly cut: readonly number[];
}

/** Subscribes to one topic, answers what it gets, and keeps count of it. */
export class Subscriber {
  readonly topic: number;
  readonly qos: QoS;
  readonly persistent: boolean;
  /** How often each message came; of those who must miss nothing. */
  readonly got = new Map<MessageName, number>();
  readonly repeats: Repeat[] = [];
  /** When a connection was lost that it did not end itself. */
  readonly lost: number[] = [];
  delivered = 0;
  /** Messages of QoS 1 or 2 that came for the first time behind a later one of the same publisher and QoS. */
  reordered = 0;
  readonly id: string;
  readonly ready: Promise<void>;
  readonly #connection: Connection;
  /** QoS 2 handshakes before PUBREL; they outlive the connection, as the session does at the broker. */
  readonly #incoming = new Map<number, MessageName>();
  readonly #cut = new Map<MessageName, number[]>();
  readonly #newest = new Map<number, number>();

  constructor(given: { id: string; topic: number; qos: QoS; persistent: boolean; port: number }) {
    this.id = given.id;
    this.topic = given.topic;
    this.qos = given.qos;
    this.persistent = given.persistent;
    let subscribed: () => void = () => undefined;
    this.ready = new Promise((resolve) => {
      subscribed = resolve;
    });
    const subscribe = packetOf(0x82, idOf(1), textOf(`load/${given.topic}`), Buffer.from([given.qos]));
    this.#connection = new Connection(given.port, given.id, !given.persistent, {
      connected: () => {
        if (!this.persistent) this.#incoming.clear();
        this.#connection.send(subscribe);
      },
      packet: (type, flags, body) => {
        if (type === 9) subscribed();
        else if (type === 3) this.#publish(flags, body);
        else if (type === 6) this.#released(body.readUInt16BE(0));
      },
      lost: () => this.#lost(),
    });
    this.#connection.open();
  }

  /** Whether nothing acknowledged may be missing. */
  get strict(): boolean {
    return this.persistent && this.qos > 0;
  }

  /** Goes away, with or without a word, and comes back. */
  comeAndGo(): void {
    if (this.#connection.up) this.#connection.leave(Math.random() < 0.5, 100 + Math.random() * 500);
  }

  leave(): void {
    this.#connection.leave(true);
  }

  #publish(flags: number, body: Buffer): void {
    const qos = (flags >> 1) & 3;
    const idAt = 2 + body.readUInt16BE(0);
    const at = qos > 0 ? idAt + 2 : idAt;
    const publisher = body.readUInt16BE(at);
    const serial = body.readUInt32BE(at + 2);
    const name = nameOf(publisher, serial);
    this.delivered += 1;
    if (qos === 1) this.#connection.send(answerOf(0x40, body.readUInt16BE(idAt)));
    if (qos === 2) {
      const messageId = body.readUInt16BE(idAt);
      this.#connection.send(answerOf(0x50, messageId));
      if (this.#incoming.get(messageId) === name) return;
      this.#incoming.set(messageId, name);
    }
    if (!this.strict) return;
    const count = (this.got.get(name) ?? 0) + 1;
    this.got.set(name, count);
    if (qos === 0) return;
    if (count === 1) {
      const line = publisher * 4 + (body[at + 6] ?? 0);
      if (serial < (this.#newest.get(line) ?? 0)) this.reordered += 1;
      else this.#newest.set(line, serial);
    } else if (qos === 2) this.repeats.push({ name, cut: this.#cut.get(name) ?? [] });
  }

  #released(messageId: number): void {
    this.#incoming.delete(messageId);
    this.#connection.send(answerOf(0x70, messageId));
  }

  #lost(): void {
    const now = Date.now();
    this.lost.push(now);
    for (const name of this.#incoming.values()) this.#cut.set(name, [...(this.#cut.get(name) ?? []), now]);
  }
}
