import type { AedesPublishPacket, Client } from 'aedes';
import { grantedQos, idOf, isBlocked } from './forwarding.ts';
import type { Session, Sessions } from './sessions/index.ts';
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
  readonly sessions: Sessions;
  readonly traffic: Traffic;
  readonly window: WindowOptions;
}

const maxMessageId = 65_535;

type Deliver = (packet: AedesPublishPacket, done: () => void) => void;

interface ClientInside {
  deliver0: Deliver;
  deliverQoS: Deliver;
  readonly duplicates: Record<string, bigint | number>;
}

interface Waiting {
  readonly packet: AedesPublishPacket;
  readonly done: (() => void) | undefined;
}

/**
 * What goes to one subscriber: as much as it acknowledges and reads. The rest waits, in the queue of its session or in a
 * bounded one here; QoS 0 is dropped meanwhile. The hub is never kept waiting, so that nobody else waits for a subscriber
 * that is slow or frozen.
 */
export class OutgoingWindow {
  readonly #client: Client;
  readonly #deps: OutgoingDeps;
  readonly #deliverQoS: Deliver;
  /** Identifiers of messages under way that are not of the session's queue. */
  readonly #inFlight = new Set<number>();
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #lastId = 0;
  #awaitsDrain = false;

  /** Takes the place of how aedes delivers to this client. */
  constructor(client: Client, deps: OutgoingDeps) {
    const inside = client as unknown as ClientInside;
    this.#client = client;
    this.#deps = deps;
    this.#deliverQoS = inside.deliverQoS;
    const deliver0 = inside.deliver0;
    const plain: Deliver = (packet, done) => {
      deliver0(packet, nothing);
      queueMicrotask(done);
    };
    inside.deliver0 = (packet, done) => {
      // matches a subscription of QoS 0 and another of more: aedes takes the first
      if (packet.qos > 0 && grantedQos(client, packet.topic) > 0) this.#deliver(packet, done);
      else plain(packet, done);
    };
    inside.deliverQoS = (packet, done) => {
      if (packet.qos === 0 || grantedQos(client, packet.topic) === 0) plain(packet, done);
      else this.#deliver(packet, done);
    };
  }

  /** Something was acknowledged: there may be room for what waits. */
  acknowledged(messageId: number | undefined): void {
    if (messageId !== undefined) this.#inFlight.delete(messageId);
    this.#pump();
  }

  #deliver(packet: AedesPublishPacket, done: () => void): void {
    const session = this.#session();
    const id = idOf(packet);
    if (id === undefined) {
      // a retained message: the stream that brings it waits
      if (this.#isFull(session)) this.#wait({ packet, done });
      else this.#send(packet, session, done);
      return;
    }
    queueMicrotask(done);
    if (session !== undefined) {
      const entry = session.queue.get(id);
      if (entry === undefined || session.live !== this.#client || entry.connection === session.connection) return;
      if (session.behind || this.#isFull(session)) session.behind = true;
      else this.#deliverQoS(packet, nothing);
      return;
    }
    if (!this.#isNew(id, packet)) return;
    const unnumbered = { ...packet, brokerId: '', brokerCounter: 0, logId: id };
    if (this.#waiting.length === 0 && !this.#isFull(undefined)) {
      this.#send(unnumbered, undefined, nothing);
      return;
    }
    const { maxQueued, maxQueuedBytes } = this.#deps.window;
    if (this.#waiting.length >= maxQueued || this.#waitingBytes + packet.payload.length > maxQueuedBytes) {
      this.#deps.traffic.publishesDropped.add();
      return;
    }
    this.#waitingBytes += packet.payload.length;
    this.#wait({ packet: { ...unnumbered, payload: Buffer.from(packet.payload) }, done: undefined });
  }

  /** Sends what is not of a session's queue. */
  #send(packet: AedesPublishPacket, session: Session | undefined, done: () => void): void {
    const granted = grantedQos(this.#client, packet.topic);
    if (granted > 0) {
      const messageId = this.#allocate(session);
      this.#inFlight.add(messageId);
      session?.others.add(messageId);
      Object.assign(packet, { messageId });
    }
    this.#deliverQoS(packet, done);
  }

  #wait(waiting: Waiting): void {
    this.#waiting.push(waiting);
    this.#untilDrained();
  }

  #pump(): void {
    // its subscriptions are gone before its session knows
    if (this.#client.closed) return;
    const session = this.#session();
    while (this.#waiting.length > 0 && !this.#isFull(session)) {
      const [next] = this.#waiting.splice(0, 1);
      if (next === undefined) break;
      if (next.done === undefined) this.#waitingBytes -= next.packet.payload.length;
      this.#send(next.packet, session, next.done ?? nothing);
    }
    if (session?.behind === true && session.live === this.#client) this.#catchUp(session);
    if (this.#waiting.length > 0 || session?.behind === true) this.#untilDrained();
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
      else if (grantedQos(this.#client, content.topic) === 0) queues.remove(entry);
      else {
        const dup = entry.messageId !== 0;
        entry.connection = session.connection;
        const messageId = queues.number(entry);
        const { topic, payload } = content;
        const packet = {
          cmd: 'publish',
          topic,
          payload,
          qos: entry.qos,
          retain: false,
          dup,
          messageId,
          logId: entry.id,
        };
        this.#deliverQoS(packet as unknown as AedesPublishPacket, nothing);
      }
    }
    session.behind = false;
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
      this.#pump();
    });
  }

  /** Through several subscriptions a message comes as many times. */
  #isNew(id: bigint, { brokerId }: AedesPublishPacket): boolean {
    const { duplicates } = this.#client as unknown as ClientInside;
    if ((duplicates[brokerId] ?? 0) >= id) return false;
    duplicates[brokerId] = id;
    return true;
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

const nothing = (): void => undefined;
