import { Readable } from 'node:stream';
import type { Client } from 'aedes';
import type { QoS } from '../domain/index.ts';
import { logBrokerId, type Session, type SessionStore, WillRow } from '../sessions/index.ts';
import type { RetainedSource } from './forwarding.ts';

/** A client as aedes's persistence is given it: at times the client itself, at times its id alone. */
export type ClientLike = Pick<Client, 'id'> & Partial<Pick<Client, 'clean' | 'closed'>>;

export interface PersistedSubscription {
  readonly topic: string;
  readonly qos: QoS;
}

/** What of a packet matters here; aedes changes packets in place, and so do we. */
export interface PersistedPacket {
  cmd?: string;
  messageId?: number | undefined;
  qos?: QoS;
  brokerId?: string | null;
  brokerCounter?: unknown;
  topic?: string;
  payload?: Uint8Array | string;
  retain?: boolean;
}

export interface PersistenceDeps {
  readonly retained: RetainedSource;
  readonly store: SessionStore;
  /** Whether the subscription was granted; aedes stores those that it refused, too. */
  readonly granted: (subscription: PersistedSubscription) => boolean;
  readonly usernameOf: (client: ClientLike) => string;
  /** A client has acknowledged a message. */
  readonly acknowledged: (client: ClientLike, messageId: number | undefined) => void;
  /** What `$SYS` has for a filter. */
  readonly sys: (filter: string) => Iterable<{ readonly topic: string; readonly payload: Uint8Array }>;
}

/** Given at CONNECT for a session without subscriptions and never granted: aedes takes one without for no session. */
export const sessionMark = '$session';

/**
 * aedes's persistence over `SessionStore`. Retained messages come from the pipeline; messages are queued by the store
 * itself as the pipeline routes them, so aedes is told of no offline subscriber.
 */
export class SessionPersistence {
  readonly #deps: PersistenceDeps;
  readonly #looked = new WeakSet<PersistedSubscription>();

  constructor(deps: PersistenceDeps) {
    this.#deps = deps;
  }

  async setup(): Promise<void> {
    return undefined;
  }

  async destroy(): Promise<void> {
    return undefined;
  }

  async storeRetained(): Promise<void> {
    return undefined;
  }

  createRetainedStream(filter: string): Readable {
    return this.createRetainedStreamCombi([filter]);
  }

  createRetainedStreamCombi(filters: readonly string[]): Readable {
    return Readable.from(figurePackets(this.#deps, filters));
  }

  async addSubscriptions(client: ClientLike, subscriptions: readonly PersistedSubscription[]): Promise<void> {
    const granted = subscriptions.filter((one) => this.#deps.granted(one));
    await this.#sessions.subscribe(
      client.id,
      granted.map((one) => ({ filter: one.topic, qos: one.qos, due: this.#dueFor(one) })),
    );
  }

  /** Topics of the retained messages that a session is to get for a subscription; aedes brings each one more than once. */
  #dueFor(subscription: PersistedSubscription): string[] {
    if (subscription.qos === 0 || this.#looked.has(subscription)) return [];
    this.#looked.add(subscription);
    return [...topicsDue(this.#deps.retained, subscription.topic)];
  }

  async removeSubscriptions(client: ClientLike, filters: readonly string[]): Promise<void> {
    await this.#sessions.unsubscribe(client.id, filters);
  }

  /** Asked at CONNECT with clean session 0. */
  async subscriptionsByClient(client: ClientLike): Promise<PersistedSubscription[]> {
    const session = this.#sessions.get(client.id);
    if (session === undefined) return [];
    if (session.subscriptions.size === 0) return [{ topic: sessionMark, qos: 0 }];
    return [...session.subscriptions.values()].map(({ filter, qos }) => ({ topic: filter, qos }));
  }

  async subscriptionsByTopic(): Promise<PersistedSubscription[]> {
    return [];
  }

  /** Called at CONNECT with clean session 1. */
  async cleanSubscriptions(client: ClientLike): Promise<void> {
    if (this.#sessions.get(client.id) === undefined) return;
    this.#sessions.wipe(client.id);
    await this.#deps.store.flush(true);
  }

  async countOffline(): Promise<{ subsCount: number; clientsCount: number }> {
    return { subsCount: this.#sessions.subscriptions, clientsCount: this.#sessions.count };
  }

  async outgoingEnqueue(): Promise<void> {
    return undefined;
  }

  async outgoingEnqueueCombi(): Promise<void> {
    return undefined;
  }

  /**
   * A message is about to be sent, or a PUBREL. The packet gets the identifier under which it goes; a QoS 2 message waits
   * until that is written, a PUBREL until it is on the disk. Never an error for what is not known: it was dropped.
   */
  async outgoingUpdate(client: ClientLike, packet: PersistedPacket): Promise<void> {
    const session = this.#sessions.get(client.id);
    if (session === undefined) return;
    if (packet.cmd === 'pubrel') {
      const { messageId } = packet;
      if (messageId === undefined) return;
      const topic = session.retained.get(messageId);
      if (topic !== undefined) {
        session.retained.set(messageId, undefined);
        this.#sessions.settleRetained(session, topic);
      }
      const entry = session.sent.get(messageId);
      if (entry?.content === undefined) return;
      this.#sessions.queues.release(entry);
      await this.#deps.store.flush(true);
      return;
    }
    const entry = entryOf(session, packet);
    if (entry === undefined) {
      packet.messageId = session.allocate();
      return;
    }
    const { connection } = session;
    packet.messageId = this.#sessions.queues.number(entry);
    const { fresh } = entry;
    entry.fresh = false;
    packet.qos = entry.qos;
    try {
      if (entry.qos === 2 && fresh) await this.#deps.store.flush(false);
    } finally {
      // not where the client was taken over meanwhile: the backlog is another's then
      if (connection === session.connection && isOwner(session, client)) session.returned(entry);
    }
  }

  /** A PUBACK or PUBCOMP, or a message that is not to be sent after all. Answers with what it was about. */
  async outgoingClearMessageId(client: ClientLike, packet: PersistedPacket): Promise<PersistedPacket | undefined> {
    const { messageId } = packet;
    const entry = messageId === undefined ? undefined : this.#sessions.get(client.id)?.sent.get(messageId);
    const content = entry?.content?.content;
    this.acknowledged(client, messageId);
    if (entry === undefined) return undefined;
    return {
      cmd: content === undefined ? 'pubrel' : 'publish',
      qos: entry.qos,
      messageId,
      brokerId: logBrokerId,
      brokerCounter: entry.id,
      ...(content === undefined ? {} : { topic: content.topic, payload: content.payload }),
    };
  }

  /** A PUBACK or PUBCOMP. */
  acknowledged(client: ClientLike, messageId: number | undefined): void {
    const session = this.#sessions.get(client.id);
    if (session !== undefined && messageId !== undefined) {
      const topic = session.retained.get(messageId);
      session.retained.delete(messageId);
      if (topic !== undefined) this.#sessions.settleRetained(session, topic);
      const entry = session.sent.get(messageId);
      if (entry !== undefined) this.#sessions.queues.remove(entry);
    }
    this.#deps.acknowledged(client, messageId);
  }

  outgoingStream(client: ClientLike): Readable {
    const session = this.#sessions.get(client.id);
    const none = session === undefined || client.clean === true || !isOwner(session, client);
    return Readable.from(none ? [] : this.#sessions.backlog(session, client));
  }

  async incomingStorePacket(client: ClientLike, packet: PersistedPacket): Promise<void> {
    if (packet.messageId !== undefined) await this.#sessions.addIncoming(client.id, packet.messageId);
  }

  async incomingGetPacket(client: ClientLike, packet: PersistedPacket): Promise<PersistedPacket> {
    const { messageId } = packet;
    if (messageId === undefined || !this.#sessions.hasIncoming(client.id, messageId)) throw new Error('no such packet');
    return { messageId };
  }

  async incomingDelPacket(client: ClientLike, packet: PersistedPacket): Promise<void> {
    if (packet.messageId !== undefined) await this.#sessions.deleteIncoming(client.id, packet.messageId);
  }

  /** Called at CONNECT and at the end of a clean connection; by then the id may be a session's. */
  async cleanIncoming(client: ClientLike): Promise<void> {
    this.#sessions.clearTransient(client.id);
    const session = this.#sessions.get(client.id);
    if (session !== undefined && session.owner === undefined) await this.cleanSubscriptions(client);
  }

  async putWill(client: ClientLike, packet: PersistedPacket): Promise<void> {
    const { topic = '', payload = '', qos = 0, retain = false } = packet;
    const username = this.#deps.usernameOf(client);
    const will = {
      topic,
      payload: typeof payload === 'string' ? Buffer.from(payload) : payload,
      qos,
      retain,
      username,
    };
    this.#sessions.putWill(new WillRow(client.id, will, client));
  }

  async getWill(client: ClientLike): Promise<object | undefined> {
    return this.#sessions.will(client.id)?.will;
  }

  /** With the client itself: before its will is put. With its id alone: a connection is over, perhaps an earlier one. */
  async delWill(client: ClientLike): Promise<object | undefined> {
    const row = this.#sessions.will(client.id);
    if (row === undefined) return undefined;
    const owner = row.owner as ClientLike | undefined;
    if (client.clean === undefined && owner?.closed === false) return undefined;
    this.#sessions.deleteWill(client.id);
    return row.will;
  }

  /** None: those that an earlier run left are published at start. */
  streamWill(): Readable {
    return Readable.from([]);
  }

  getClientList(topic: string): Readable {
    return Readable.from(this.#sessions.subscribers(topic));
  }

  get #sessions(): SessionStore['sessions'] {
    return this.#deps.store.sessions;
  }
}

function isOwner(session: Session, client: ClientLike): boolean {
  return session.owner === undefined || session.owner === client;
}

function entryOf(session: Session, packet: PersistedPacket): ReturnType<Session['queue']['get']> {
  const { brokerId, brokerCounter, messageId } = packet;
  if (brokerId === logBrokerId && typeof brokerCounter === 'bigint') return session.queue.get(brokerCounter);
  return messageId === undefined ? undefined : session.sent.get(messageId);
}

/** The topics that have a retained message of a QoS above 0 which a filter matches. */
export function* topicsDue(retained: RetainedSource, filter: string): Generator<string> {
  for (const { topic, qos } of retained.matching(filter)) if (qos > 0) yield topic;
}

/** What `$SYS` has; retained messages of the pipeline a client's window sends. */
function* figurePackets({ sys }: PersistenceDeps, filters: readonly string[]): Generator<object> {
  const packet = { cmd: 'publish', retain: true, dup: false };
  for (const filter of filters) {
    for (const { topic, payload } of sys(filter)) yield { ...packet, topic, payload, qos: 0 };
  }
}
