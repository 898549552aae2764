import type { Client } from 'aedes';
import { type QoS, topicMatches } from '../domain/index.ts';
import type { QueuedMessage, Session, Sessions } from '../sessions/index.ts';
import type { DeliveryJournal } from './admission.ts';
import { isBlocked, type RetainedSource } from './forwarding.ts';
import type { Hub, Receiver, Subscription } from './hub.ts';
import { Outbox } from './outbox.ts';
import { PublishPacket } from './publish-packet.ts';
import type { Traffic } from './traffic.ts';

/** Bounds of what is under way to one subscriber. */
export interface WindowOptions {
  /** QoS 1 and 2 messages that it has not acknowledged. */
  readonly maxInflight: number;
  /** QoS 1 and 2 messages that wait for that, where it has no session to wait in. */
  readonly maxQueued: number;
  readonly maxQueuedBytes: number;
}

export interface OutgoingDeps {
  readonly hub: Hub;
  readonly sessions: Sessions;
  readonly traffic: Traffic;
  readonly retained: RetainedSource;
  readonly journal: DeliveryJournal;
  readonly window: WindowOptions;
}

const maxMessageId = 65_535;

/** A packet as aedes delivers one: what `$SYS` has, for a new subscription. */
interface FigurePacket {
  readonly topic: string;
  readonly payload: Buffer;
}

interface ClientInside {
  deliver0: (packet: FigurePacket, done: () => void) => void;
  deliverQoS: (packet: FigurePacket, done: () => void) => void;
  emit(event: 'error', error: Error): boolean;
}

interface Waiting {
  readonly packet: PublishPacket;
  readonly qos: QoS;
  readonly retain: boolean;
  /** Called once it is sent. */
  readonly done: (() => void) | undefined;
}

/**
 * What goes to one subscriber: as much as it acknowledges and reads. The rest waits, in the queue of its session or in a
 * bounded one here; QoS 0 is dropped meanwhile. The hub is never kept waiting, so that nobody else waits for a subscriber
 * that is slow or frozen.
 */
export class OutgoingWindow implements Receiver {
  readonly filters = new Map<string, Subscription>();
  matched: PublishPacket | undefined;
  matchedQos: QoS = 0;
  readonly #client: Client;
  readonly #deps: OutgoingDeps;
  readonly #outbox: Outbox;
  /** Identifiers of messages under way that are not of the session's queue. */
  readonly #inFlight = new Set<number>();
  #waiting: Waiting[] = [];
  /** Topics whose retained messages are to be sent. */
  readonly #toCome = new Set<string>();
  #waitingBytes = 0;
  #lastId = 0;
  #awaitsDrain = false;
  /** Whether something was acknowledged in this turn. */
  #hasRoom = false;

  /** Takes the place of how aedes delivers to this client. */
  constructor(client: Client, deps: OutgoingDeps) {
    this.#client = client;
    this.#deps = deps;
    this.#outbox = new Outbox(client);
    const inside = client as unknown as ClientInside;
    inside.deliver0 = (packet, done) => this.#figure(packet, done);
    inside.deliverQoS = inside.deliver0;
    deps.hub.watch(client, this);
  }

  /** Something was acknowledged: there may be room for what waits. */
  acknowledged(messageId: number | undefined): void {
    if (messageId !== undefined) this.#inFlight.delete(messageId);
    this.#hasRoom = true;
    this.#deps.hub.endsTurn(this);
  }

  /** The client has subscribed, and is to get the retained messages that match, each as it is once there is room for it. */
  subscribed(filters: readonly string[]): void {
    for (const filter of filters) for (const { topic } of this.#deps.retained.matching(filter)) this.#toCome.add(topic);
    if (this.#toCome.size > 0) this.acknowledged(undefined);
  }

  /** Goes on with the retained messages that its session has not got; those that were sent before are sent again. */
  resumed(session: Session): void {
    const repeated = new Set<string>();
    for (const [messageId, topic] of [...session.retained]) {
      if (topic === undefined || this.#inFlight.has(messageId)) continue;
      const one = this.#retained(topic, session);
      if (one === undefined || one.qos === 0) {
        session.retained.delete(messageId);
        continue;
      }
      repeated.add(topic);
      this.#inFlight.add(messageId);
      this.#write(one.packet, { qos: one.qos, retain: true, dup: true }, messageId);
    }
    for (const topic of session.due) if (!repeated.has(topic)) this.#toCome.add(topic);
    this.acknowledged(undefined);
  }

  /** Answers a PUBLISH of QoS 1. */
  puback(messageId: number): void {
    this.#outbox.push(puback, 2, messageId);
    this.#deps.hub.endsTurn(this);
  }

  turnEnded(): void {
    if (this.#hasRoom) this.#pump();
    this.#outbox.flush();
  }

  routed(packet: PublishPacket, qos: QoS): void {
    const session = this.#session();
    if (qos === 0) {
      // its session took it at a higher QoS while a subscription was changing
      if (packet.id !== undefined && session?.queue.has(packet.id) === true) return;
      if (isBlocked(this.#client)) this.#deps.traffic.publishesDropped.add();
      else this.#write(packet, live0, 0);
      return;
    }
    if (session !== undefined || this.#client.closed) return;
    if (this.#waiting.length === 0 && !this.#isFull(undefined)) {
      this.#send({ packet, qos, retain: false }, undefined);
      return;
    }
    const { maxQueued, maxQueuedBytes } = this.#deps.window;
    if (this.#waiting.length >= maxQueued || this.#waitingBytes + packet.payload.length > maxQueuedBytes) {
      this.#deps.traffic.publishesDropped.add();
      return;
    }
    this.#waitingBytes += packet.payload.length;
    // the payload is a piece of what was read from a socket
    const kept = new PublishPacket(packet.topic, Buffer.from(packet.payload), packet.id);
    this.#wait({ packet: kept, qos, retain: false, done: undefined });
  }

  queued(session: Session, message: bigint): void {
    const entry = session.queue.get(message);
    if (entry === undefined || session.live !== this.#client || this.#client.closed) return;
    if (entry.connection === session.connection) return;
    if (session.behind || this.#isFull(session)) {
      session.behind = true;
      this.#untilDrained();
    } else this.#sendQueued(session, entry);
  }

  /** The highest QoS among the client's subscriptions that match; undefined where none does. */
  #granted(topic: string): QoS | undefined {
    let granted: QoS | undefined;
    for (const [filter, { qos }] of this.filters)
      if ((granted === undefined || qos > granted) && topicMatches(filter, topic)) granted = qos;
    return granted;
  }

  /** A figure of `$SYS`; the stream that brings it waits until it is sent. */
  #figure({ topic, payload }: FigurePacket, done: () => void): void {
    const one = { packet: new PublishPacket(topic, payload, undefined), qos: 0, retain: true } as const;
    if (this.#mustWait(0, undefined)) this.#wait({ ...one, done });
    else {
      this.#send(one, undefined);
      queueMicrotask(done);
    }
  }

  /** What is retained under a topic, where it is still to be sent. */
  #retained(topic: string, session: Session | undefined): Pick<Waiting, 'packet' | 'qos'> | undefined {
    const message = this.#deps.retained.get(topic);
    let qos = this.#granted(topic);
    if (message !== undefined && qos !== undefined) {
      if (message.qos < qos) qos = message.qos;
      return { packet: new PublishPacket(topic, message.payload, message.id), qos };
    }
    if (session !== undefined) this.#deps.sessions.settleRetained(session, topic);
    return undefined;
  }

  #sendRetained(session: Session | undefined): void {
    for (const topic of this.#toCome) {
      const one = this.#retained(topic, session);
      if (one !== undefined) {
        if (this.#mustWait(one.qos, session)) return;
        this.#send({ ...one, retain: true }, session);
        if (one.qos === 0 && session !== undefined) this.#deps.sessions.settleRetained(session, topic);
      }
      this.#toCome.delete(topic);
    }
  }

  /** Sends what is not of a session's queue. */
  #send({ packet, qos, retain }: Pick<Waiting, 'packet' | 'qos' | 'retain'>, session: Session | undefined): void {
    if (qos === 0) {
      this.#write(packet, { qos, retain, dup: false }, 0);
      return;
    }
    const messageId = this.#allocate(session);
    this.#inFlight.add(messageId);
    session?.retained.set(messageId, packet.topic);
    this.#write(packet, { qos, retain, dup: false }, messageId);
  }

  /** Sends a message of the session's queue; one of QoS 2 once its identifier is written. */
  #sendQueued(session: Session, entry: QueuedMessage): void {
    const { hub, sessions } = this.#deps;
    if (entry.content === undefined) return;
    const packet = hub.packetOf(entry.content.content);
    const { connection } = session;
    const { qos } = entry;
    const dup = entry.messageId !== 0;
    entry.connection = connection;
    const messageId = sessions.queues.number(entry);
    const { fresh } = entry;
    entry.fresh = false;
    if (qos < 2 || !fresh) {
      this.#write(packet, { qos, dup, retain: false }, messageId);
      return;
    }
    hub.whenWritten((error) => {
      if (this.#client.closed || session.connection !== connection || entry.content === undefined) return;
      if (error === undefined) this.#write(packet, { qos, dup, retain: false }, messageId);
      else (this.#client as unknown as ClientInside).emit('error', error);
    });
  }

  #write(packet: PublishPacket, form: { qos: QoS; dup: boolean; retain: boolean }, messageId: number): void {
    const { hub, traffic, journal } = this.#deps;
    const head = packet.head(form);
    if (messageId === 0) this.#outbox.push(head);
    else this.#outbox.push(head, packet.identifierAt(head), messageId);
    if (packet.tail !== undefined) this.#outbox.push(packet.tail);
    hub.endsTurn(this);
    traffic.sentPublish();
    if (packet.id === undefined || form.dup) return;
    journal.record({ kind: 'delivered', message: packet.id, clientId: this.#client.id, qos: form.qos });
  }

  #wait(waiting: Waiting): void {
    this.#waiting.push(waiting);
    this.#untilDrained();
  }

  #pump(): void {
    this.#hasRoom = false;
    // its subscriptions are gone before its session knows
    if (this.#client.closed) return;
    const session = this.#session();
    let sent = 0;
    for (const { packet, qos, retain, done } of this.#waiting) {
      if (this.#mustWait(qos, session)) break;
      sent += 1;
      if (done === undefined) this.#waitingBytes -= packet.payload.length;
      this.#send({ packet, qos, retain }, session);
      if (done !== undefined) queueMicrotask(done);
    }
    if (sent > 0) this.#waiting.splice(0, sent);
    this.#sendRetained(session);
    if (session?.behind === true && session.live === this.#client) this.#catchUp(session);
    if (this.#waiting.length + this.#toCome.size > 0 || session?.behind === true) this.#untilDrained();
  }

  /** Sends the session's messages that had to wait. */
  #catchUp(session: Session): void {
    const { queues } = this.#deps.sessions;
    for (const entry of session.queue.values()) {
      if (entry.connection === session.connection || entry.content === undefined) continue;
      if (this.#isFull(entry.messageId === 0 ? session : undefined)) return;
      const { content } = entry.content;
      const outdated = queues.outdated(entry);
      if (outdated !== undefined) queues.drop(entry, outdated);
      else if (this.#granted(content.topic) === undefined) queues.remove(entry);
      else this.#sendQueued(session, entry);
    }
    session.behind = false;
  }

  #mustWait(qos: QoS, session: Session | undefined): boolean {
    return qos === 0 ? isBlocked(this.#client) : this.#isFull(session);
  }

  /** Without a session: whether the socket takes no more, or too much of this client's own is under way. */
  #isFull(session: Session | undefined): boolean {
    const underWay = this.#inFlight.size + (session?.sent.size ?? 0);
    return underWay >= this.#deps.window.maxInflight || isBlocked(this.#client);
  }

  #untilDrained(): void {
    if (this.#awaitsDrain || !isBlocked(this.#client)) return;
    this.#awaitsDrain = true;
    this.#client.conn.once('drain', () => {
      this.#awaitsDrain = false;
      this.#hasRoom = true;
      this.#deps.hub.endsTurn(this);
    });
  }

  #allocate(session: Session | undefined): number {
    for (;;) {
      this.#lastId = session?.allocate() ?? (this.#lastId % maxMessageId) + 1;
      if (!this.#inFlight.has(this.#lastId)) return this.#lastId;
    }
  }

  #session(): Session | undefined {
    return this.#client.clean ? undefined : this.#deps.sessions.get(this.#client.id);
  }
}

const live0 = { qos: 0, dup: false, retain: false } as const;
/** Its identifier is to be filled in. */
const puback = Buffer.from([0x40, 2, 0, 0]);
