import { type QoS, type StoredMessage, TopicTree } from '../domain/index.ts';
import type { Content } from './codec.ts';
import type { SessionDeps } from './options.ts';
import { contentOf, SessionQueues } from './queues.ts';
import {
  type EntryRow,
  IncomingRow,
  type SubscriptionGiven,
  SubscriptionRow,
  type WatermarkRow,
  WillRow,
} from './rows.ts';
import { backlog, type LastUse, Session } from './session.ts';
import type { Row, WriteBehind } from './write-behind.ts';

/** All persistent sessions, in memory, which is what counts; `WriteBehind` brings changes to the disk. */
export class Sessions {
  readonly queues: SessionQueues;
  /** Goes with every batch, so that the disk always says which messages its queues have seen. */
  readonly watermark: WatermarkRow;
  readonly #deps: Pick<SessionDeps, 'clock' | 'quality' | 'limits' | 'log' | 'metrics'>;
  readonly #writer: WriteBehind;
  readonly #sessions = new Map<string, Session>();
  readonly #tree = new TopicTree<SubscriptionRow>();
  readonly #wills = new Map<string, WillRow>();
  /** Told of each message once it is queued, and for which sessions, in the order of ids. */
  onQueued: ((message: Content, sessions: Iterable<Session>) => void) | undefined;
  /** Sessions that were given up since nobody came back to them. */
  expired = 0;
  /** QoS 2 handshakes of clients without a session. */
  readonly #transient = new Map<string, Set<number>>();

  constructor(deps: Sessions['deps'], writer: WriteBehind, watermark: WatermarkRow) {
    this.#deps = deps;
    this.watermark = watermark;
    this.#writer = writer;
    this.queues = new SessionQueues(deps, writer);
    deps.metrics.gauge('holdfast_sessions', 'Persistent MQTT sessions.', () => this.#sessions.size);
  }

  get deps(): Pick<SessionDeps, 'clock' | 'quality' | 'limits' | 'log' | 'metrics'> {
    return this.#deps;
  }

  get count(): number {
    return this.#sessions.size;
  }

  /** Sessions whose client is not connected. */
  get away(): number {
    let count = 0;
    for (const { owner } of this.#sessions.values()) if (owner === undefined) count += 1;
    return count;
  }

  get subscriptions(): number {
    let count = 0;
    for (const session of this.#sessions.values()) count += session.subscriptions.size;
    return count;
  }

  /** Client ids of the sessions that have subscribed to exactly `filter`. */
  *subscribers(filter: string): Generator<string> {
    for (const session of this.#sessions.values()) if (session.subscriptions.has(filter)) yield session.clientId;
  }

  get(clientId: string): Session | undefined {
    return this.#sessions.get(clientId);
  }

  /** Takes a session that the disk has. */
  restore(clientId: string, lastUse: LastUse): Session {
    const session = new Session(clientId, lastUse);
    session.stored = true;
    session.idleSince = this.#deps.clock.monotonic();
    if (!lastUse.online && lastUse.synced && this.#deps.quality() === 'synced') {
      session.idleSince -= Math.max(0, this.#deps.clock.wall() - lastUse.wall);
    }
    this.#sessions.set(clientId, session);
    return session;
  }

  restoreSubscription(session: Session, filter: string, qos: QoS, due: boolean): void {
    const row = new SubscriptionRow(session, filter, qos);
    row.stored = true;
    row.due = due;
    session.subscriptions.set(filter, row);
    if (qos > 0) this.#tree.add(filter, row);
  }

  restoreIncoming(session: Session, messageId: number): void {
    const row = new IncomingRow(session.clientId, messageId);
    row.stored = true;
    session.incoming.set(messageId, row);
  }

  restoreWill(clientId: string, will: WillRow['will']): void {
    const row = new WillRow(clientId, will, undefined);
    row.stored = true;
    this.#wills.set(clientId, row);
  }

  /** Rows of everything, for a store that has lost them. */
  *rows(): Generator<Row> {
    yield* this.queues.contents();
    yield* this.#wills.values();
    for (const session of this.#sessions.values()) {
      yield session;
      yield* session.subscriptions.values();
      yield* session.incoming.values();
      yield* session.queue.values();
      for (const entry of session.sent.values()) if (entry.content === undefined) yield entry;
    }
  }

  /** A client came with clean session 0: its session, made where there is none. */
  opened(clientId: string, owner: object): Session {
    this.#transient.delete(clientId);
    const session = this.#sessionFor(clientId);
    session.owner = owner;
    session.live = undefined;
    this.#used(session, true);
    return session;
  }

  closed(clientId: string, owner: object): void {
    const session = this.#sessions.get(clientId);
    if (session === undefined || session.owner !== owner) return;
    session.owner = undefined;
    session.live = undefined;
    session.idleSince = this.#deps.clock.monotonic();
    this.#used(session, false);
  }

  /** Forgets a session: clean session 1, or unused for too long. */
  wipe(clientId: string, reason?: 'session_expired'): void {
    this.#transient.delete(clientId);
    const session = this.#sessions.get(clientId);
    if (session === undefined) return;
    if (reason !== undefined) this.expired += 1;
    this.queues.clear(session, reason);
    for (const row of session.subscriptions.values()) this.#unsubscribe(row);
    for (const row of session.incoming.values()) this.#writer.remove(row);
    this.#writer.remove(session);
    this.#sessions.delete(clientId);
  }

  /** Adds subscriptions; they count once they are on disk, when this resolves. */
  async subscribe(clientId: string, subscriptions: readonly SubscriptionGiven[]): Promise<void> {
    const session = this.#sessionFor(clientId);
    const changed: SubscriptionRow[] = [];
    for (const { filter, qos, due } of subscriptions) {
      const known = session.subscriptions.get(filter);
      for (const topic of due) session.due.add(topic);
      if (known?.qos === qos && (known.due || due.length === 0)) continue;
      const row = known ?? new SubscriptionRow(session, filter, qos);
      row.qos = qos;
      row.due ||= due.length > 0;
      session.subscriptions.set(filter, row);
      this.#writer.mark(row);
      changed.push(row);
    }
    try {
      await this.#writer.flush(true);
    } finally {
      // where the disk failed the client was told nothing, and memory is what counts
      for (const row of changed) {
        if (row.gone) continue;
        if (row.qos > 0) this.#tree.add(row.filter, row);
        else this.#tree.delete(row.filter, row);
      }
    }
  }

  /** The client has got the retained message of a topic, or is not to get it any more. */
  settleRetained(session: Session, topic: string): void {
    if (session.due.delete(topic)) this.#noteSettled(session);
  }

  /** To be called once after a start, when it is known what is retained: `topics` are those that a filter matches. */
  restoreRetained(topics: (filter: string) => Iterable<string>): void {
    for (const session of this.#sessions.values()) {
      for (const { filter, due } of session.subscriptions.values())
        if (due) for (const topic of topics(filter)) session.due.add(topic);
      this.#noteSettled(session);
    }
  }

  async unsubscribe(clientId: string, filters: readonly string[]): Promise<void> {
    this.forget(clientId, filters);
    await this.#writer.flush(true);
  }

  /** Drops subscriptions without waiting for the disk. */
  forget(clientId: string, filters: readonly string[]): void {
    const session = this.#sessions.get(clientId);
    for (const filter of filters) {
      const row = session?.subscriptions.get(filter);
      if (row !== undefined) this.#unsubscribe(row);
    }
  }

  /** Queues a message for the sessions that subscribe to it, in the turn in which it was accepted, in the order of ids. */
  enqueue(message: StoredMessage): void {
    if (message.qos > 0) {
      const sessions = this.#matching(message.topic, message.qos);
      if (sessions.size > 0) {
        this.#deps.log.require(message.id);
        const content = contentOf(message);
        this.queues.add(content, sessions);
        this.onQueued?.(content, sessions.keys());
      }
    }
    this.watermark.at = message.id + 1n;
  }

  /** The client's backlog; a session is live at its end. */
  backlog(session: Session, client: object): AsyncGenerator<object> {
    const expired = (entry: EntryRow): boolean => {
      const reason = this.queues.outdated(entry);
      if (reason !== undefined) this.queues.drop(entry, reason);
      return reason !== undefined;
    };
    return backlog(session, client, this.#deps.limits.inflight, expired);
  }

  hasIncoming(clientId: string, messageId: number): boolean {
    const session = this.#sessions.get(clientId);
    return session?.incoming.has(messageId) ?? this.#transient.get(clientId)?.has(messageId) ?? false;
  }

  /** Notes a QoS 2 packet identifier, on disk where the client has a session, when this resolves. */
  async addIncoming(clientId: string, messageId: number): Promise<void> {
    const session = this.#sessions.get(clientId);
    if (session === undefined) {
      const ids = this.#transient.get(clientId) ?? new Set<number>();
      this.#transient.set(clientId, ids.add(messageId));
      return;
    }
    if (!session.incoming.has(messageId)) {
      const row = new IncomingRow(clientId, messageId);
      session.incoming.set(messageId, row);
      this.#writer.mark(row);
    }
    await this.#writer.flush(true);
  }

  /** Ends a handshake; the identifier may be used again, and must not be taken for a duplicate after a crash. */
  async deleteIncoming(clientId: string, messageId: number): Promise<void> {
    this.#transient.get(clientId)?.delete(messageId);
    const session = this.#sessions.get(clientId);
    const row = session?.incoming.get(messageId);
    if (session === undefined || row === undefined) return;
    session.incoming.delete(messageId);
    this.#writer.remove(row);
    await this.#writer.flush(true);
  }

  clearTransient(clientId: string): void {
    this.#transient.delete(clientId);
  }

  will(clientId: string): WillRow | undefined {
    return this.#wills.get(clientId);
  }

  wills(): WillRow[] {
    return [...this.#wills.values()];
  }

  putWill(row: WillRow): void {
    this.deleteWill(row.clientId);
    this.#wills.set(row.clientId, row);
    this.#writer.mark(row);
  }

  deleteWill(clientId: string): void {
    const row = this.#wills.get(clientId);
    if (row === undefined) return;
    this.#wills.delete(clientId);
    this.#writer.remove(row);
  }

  /** Drops what is too old: sessions that nobody came back to, and messages. */
  sweep(): void {
    const now = this.#deps.clock.monotonic();
    for (const session of [...this.#sessions.values()]) {
      if (session.owner === undefined && now - session.idleSince > this.#deps.limits.idle) {
        this.wipe(session.clientId, 'session_expired');
      }
    }
    this.queues.sweep();
  }

  /** Once nothing is due its subscriptions say so. */
  #noteSettled(session: Session): void {
    if (session.due.size > 0) return;
    for (const row of session.subscriptions.values()) {
      if (!row.due) continue;
      row.due = false;
      this.#writer.mark(row);
    }
  }

  #matching(topic: string, qos: QoS): Map<Session, QoS> {
    const found = new Map<Session, QoS>();
    this.#tree.match(topic, (row) => {
      const granted = qos < row.qos ? qos : row.qos;
      if (granted > (found.get(row.session) ?? 0)) found.set(row.session, granted);
    });
    return found;
  }

  #sessionFor(clientId: string): Session {
    const known = this.#sessions.get(clientId);
    if (known !== undefined) return known;
    if (this.#sessions.size >= this.#deps.limits.sessions) this.#makeRoom();
    const session = new Session(clientId, this.#lastUse(false));
    session.idleSince = this.#deps.clock.monotonic();
    this.#sessions.set(clientId, session);
    this.#writer.mark(session);
    return session;
  }

  /** Gives up the session that was left unused for the longest time. */
  #makeRoom(): void {
    let oldest: Session | undefined;
    for (const session of this.#sessions.values()) {
      if (session.owner === undefined && session.idleSince < (oldest?.idleSince ?? Number.POSITIVE_INFINITY)) {
        oldest = session;
      }
    }
    if (oldest !== undefined) this.wipe(oldest.clientId, 'session_expired');
  }

  #used(session: Session, online: boolean): void {
    session.lastUse = this.#lastUse(online);
    this.#writer.mark(session);
  }

  #lastUse(online: boolean): LastUse {
    return { wall: this.#deps.clock.wall(), synced: this.#deps.quality() === 'synced', online };
  }

  #unsubscribe(row: SubscriptionRow): void {
    row.session.subscriptions.delete(row.filter);
    this.#tree.delete(row.filter, row);
    this.#writer.remove(row);
  }
}
