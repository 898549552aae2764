import { answerOf, Connection, idOf, packetOf, type QoS, textOf } from './connection.ts';

/** A message, as publishers and subscribers name it: the publisher's number times 2^32 and its serial. */
export type MessageName = number;

const serials = 2 ** 32;

export function nameOf(publisher: number, serial: number): MessageName {
  return publisher * serials + serial;
}

export function textOfName(name: MessageName): string {
  return `${Math.floor(name / serials)}:${name % serials}`;
}

interface UnderWay {
  readonly name: MessageName;
  readonly topic: number;
  readonly qos: QoS;
  readonly packet: Buffer;
  /** Whether it was sent in an earlier connection, too. */
  sent: boolean;
  /** Whether the broker has taken it over: PUBREC. */
  received: boolean;
}

/** What a publisher sends at most without an answer; the rest waits its turn. */
const maxUnderWay = 500;

/** Publishes what is due, connected or not, over reconnects; nothing of it is dropped but QoS 0 without a connection. */
export class Publisher {
  /** What the broker has taken over, by PUBACK or PUBREC, with its topic and QoS. */
  readonly acknowledged: { readonly name: MessageName; readonly topic: number; readonly qos: QoS }[] = [];
  /** QoS 2 messages whose connection was lost between PUBLISH and PUBREC, with when that was. */
  readonly cut = new Map<MessageName, number[]>();
  readonly lost: number[] = [];
  /** Messages that went out, the first time. */
  sent = 0;
  readonly #number: number;
  readonly #topics: number;
  readonly #connection: Connection;
  readonly #underWay = new Map<number, UnderWay>();
  #waiting: (() => void)[] = [];
  #serial = 0;
  #messageId = 0;

  constructor(number: number, port: number, topics: number) {
    this.#number = number;
    this.#topics = topics;
    this.#connection = new Connection(port, `pub${number}`, false, {
      connected: () => this.#again(),
      packet: (type, _flags, body) => this.#answered(type, body.readUInt16BE(0)),
      lost: () => this.#cut(),
    });
    this.#connection.open();
  }

  get up(): boolean {
    return this.#connection.up;
  }

  /** Messages that are not acknowledged to the end. */
  get unanswered(): number {
    return this.#underWay.size + this.#waiting.length;
  }

  publish(): void {
    this.#serial += 1;
    const serial = this.#serial;
    const qos = (serial % 3) as QoS;
    // all publishers and all QoS to each topic
    const topic = (Math.floor(serial / 3) + this.#number) % this.#topics;
    const name = nameOf(this.#number, serial);
    const payload = Buffer.alloc(7);
    payload.writeUInt16BE(this.#number);
    payload.writeUInt32BE(serial, 2);
    payload[6] = qos;
    if (qos === 0) {
      if (this.up) this.sent += 1;
      this.#connection.send(packetOf(0x30, textOf(`load/${topic}`), payload));
      return;
    }
    const start = () => {
      const messageId = this.#nextId();
      const packet = packetOf(0x30 | (qos << 1), textOf(`load/${topic}`), idOf(messageId), payload);
      const one = { name, topic, qos, packet, sent: false, received: false };
      this.#underWay.set(messageId, one);
      this.#send(one);
    };
    if (this.#underWay.size < maxUnderWay && this.#waiting.length === 0) start();
    else this.#waiting.push(start);
  }

  #next(): void {
    const room = maxUnderWay - this.#underWay.size;
    for (const start of this.#waiting.splice(0, room)) start();
  }

  leave(): void {
    this.#connection.leave(true);
  }

  #send(one: UnderWay): void {
    if (!this.up) return;
    if (one.sent) {
      const again = Buffer.from(one.packet);
      again[0] = (again[0] ?? 0) | 8;
      this.#connection.send(again);
      return;
    }
    one.sent = true;
    this.sent += 1;
    this.#connection.send(one.packet);
  }

  /** All that is not answered, in order. */
  #again(): void {
    for (const [messageId, one] of this.#underWay) {
      if (one.received) this.#connection.send(answerOf(0x62, messageId));
      else this.#send(one);
    }
  }

  #answered(type: number, messageId: number): void {
    const one = this.#underWay.get(messageId);
    if (one === undefined) return;
    const { name, topic, qos } = one;
    if ((type === 4 && qos === 1) || (type === 5 && !one.received)) this.acknowledged.push({ name, topic, qos });
    if (type === 4 || type === 7) {
      this.#underWay.delete(messageId);
      // not one by one
      if (this.#underWay.size < maxUnderWay / 2) this.#next();
    } else if (type === 5) {
      one.received = true;
      this.#connection.send(answerOf(0x62, messageId));
    }
  }

  #cut(): void {
    const now = Date.now();
    this.lost.push(now);
    for (const { name, qos, sent, received } of this.#underWay.values()) {
      if (qos === 2 && sent && !received) this.cut.set(name, [...(this.cut.get(name) ?? []), now]);
    }
  }

  #nextId(): number {
    do this.#messageId = (this.#messageId % 65_535) + 1;
    while (this.#underWay.has(this.#messageId));
    return this.#messageId;
  }
}
