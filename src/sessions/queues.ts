import type { QoS, StoredMessage } from '../domain/index.ts';
import type { Counter } from '../telemetry/index.ts';
import type { Content } from './codec.ts';
import type { SessionDeps } from './options.ts';
import { ContentRow, EntryRow } from './rows.ts';
import type { Session } from './session.ts';
import type { WriteBehind } from './write-behind.ts';

export type DropReason = 'messages' | 'bytes' | 'total_bytes' | 'age' | 'expired' | 'session_expired';

/** The messages of all sessions, their bounds and their acknowledgement. */
export class SessionQueues {
  readonly #deps: Pick<SessionDeps, 'log' | 'limits' | 'metrics'>;
  readonly #writer: WriteBehind;
  /** By log id; the oldest of them first. */
  readonly #contents = new Map<bigint, ContentRow>();
  #bytes = 0;
  #messages = 0;

  constructor(deps: Pick<SessionDeps, 'log' | 'limits' | 'metrics'>, writer: WriteBehind) {
    this.#deps = deps;
    this.#writer = writer;
    deps.metrics.gauge('holdfast_session_queue_messages', 'Messages queued for MQTT sessions.', () => this.#messages);
    deps.metrics.gauge('holdfast_session_queue_bytes', 'Bytes queued for MQTT sessions.', () => this.#bytes);
    for (const reason of reasons) this.#dropped(reason);
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Rows of all messages. */
  contents(): Iterable<ContentRow> {
    return this.#contents.values();
  }

  /** Takes what the disk has; call in the order of ids. */
  restoreContent(content: Content): void {
    const row = new ContentRow(content);
    row.stored = true;
    this.#contents.set(content.id, row);
    this.#bytes += row.bytes;
  }

  /** Takes an entry that the disk has; one without its content is of no use and removed. */
  restoreEntry(session: Session, id: bigint, qos: QoS, released: boolean, messageId: number): void {
    const content = released ? undefined : this.#contents.get(id);
    const entry = new EntryRow(session, id, qos, content);
    entry.stored = true;
    if ((!released && content === undefined) || (released && messageId === 0)) {
      this.#writer.remove(entry);
      return;
    }
    this.#file(entry, messageId);
  }

  /** Removes messages that nobody waits for, after all entries were taken. */
  restored(): void {
    for (const row of [...this.#contents.values()]) if (row.waiting.size === 0) this.#forget(row);
  }

  /** Queues `content` for each session, at the QoS given; what exceeds the bounds then goes, the oldest first. */
  add(content: Content, sessions: ReadonlyMap<Session, QoS>): void {
    const row = new ContentRow(content);
    this.#contents.set(content.id, row);
    this.#bytes += row.bytes;
    this.#writer.mark(row);
    const { limits } = this.#deps;
    for (const [session, qos] of sessions) {
      const entry = new EntryRow(session, content.id, qos, row);
      this.#file(entry, 0);
      this.#writer.mark(entry);
    }
    for (const session of sessions.keys()) {
      while (session.queue.size > limits.messages) this.#dropOldest(session, 'messages');
      while (session.bytes > limits.bytes && session.queue.size > 0) this.#dropOldest(session, 'bytes');
    }
    while (this.#bytes > limits.totalBytes) {
      const [oldest] = this.#contents.values();
      if (oldest === undefined) break;
      for (const session of [...oldest.waiting]) this.#dropFrom(session, oldest.content.id, 'total_bytes');
    }
  }

  /** Notes the packet identifier under which `entry` goes out. */
  number(entry: EntryRow): number {
    const { session } = entry;
    if (entry.messageId === 0) {
      entry.messageId = session.allocate();
      entry.fresh = true;
      session.sent.set(entry.messageId, entry);
      this.#writer.mark(entry);
    }
    return entry.messageId;
  }

  /** The receiver has a QoS 2 message: only its PUBCOMP is awaited. */
  release(entry: EntryRow): void {
    if (entry.content === undefined) return;
    this.#unlink(entry);
    this.#writer.mark(entry);
  }

  /** The message was acknowledged, or is not wanted any more. */
  remove(entry: EntryRow): void {
    const { session } = entry;
    if (entry.content !== undefined) this.#unlink(entry);
    if (session.sent.get(entry.messageId) === entry) session.sent.delete(entry.messageId);
    this.#writer.remove(entry);
  }

  drop(entry: EntryRow, reason: DropReason): void {
    this.remove(entry);
    this.#dropped(reason).add();
  }

  /** Whether the message's own expiry or the age bound has passed. */
  outdated({ content }: EntryRow): 'age' | 'expired' | undefined {
    if (content === undefined) return undefined;
    const age = this.#deps.log.age(content.content);
    if (age === undefined) return undefined;
    const { expiry } = content.content;
    if (expiry > 0 && age > expiry * 1_000) return 'expired';
    return age > this.#deps.limits.maxAge ? 'age' : undefined;
  }

  /** Removes all messages of a session. */
  clear(session: Session, reason?: DropReason): void {
    for (const entry of [...session.queue.values(), ...session.sent.values()]) {
      if (entry.gone) continue;
      if (reason === undefined || entry.content === undefined) this.remove(entry);
      else this.drop(entry, reason);
    }
  }

  /** Drops what is too old by now. */
  sweep(): void {
    for (const row of [...this.#contents.values()]) {
      for (const session of [...row.waiting]) {
        const entry = session.queue.get(row.content.id);
        const reason = entry === undefined ? undefined : this.outdated(entry);
        if (entry !== undefined && reason !== undefined) this.drop(entry, reason);
      }
    }
  }

  #file(entry: EntryRow, messageId: number): void {
    const { session, content } = entry;
    entry.messageId = messageId;
    if (messageId !== 0) {
      session.sent.set(messageId, entry);
      session.used(messageId);
    }
    if (content === undefined) return;
    content.waiting.add(session);
    session.queue.set(entry.id, entry);
    session.bytes += content.bytes;
    if (entry.id > session.newest) session.newest = entry.id;
    this.#messages += 1;
  }

  #unlink(entry: EntryRow): void {
    const { session, content } = entry;
    if (content === undefined) return;
    session.queue.delete(entry.id);
    session.bytes -= content.bytes;
    session.returned(entry);
    this.#messages -= 1;
    entry.content = undefined;
    content.waiting.delete(session);
    if (content.waiting.size === 0) this.#forget(content);
  }

  #forget(row: ContentRow): void {
    this.#contents.delete(row.content.id);
    this.#bytes -= row.bytes;
    this.#writer.remove(row);
  }

  #dropOldest(session: Session, reason: DropReason): void {
    const [oldest] = session.queue.values();
    if (oldest !== undefined) this.drop(oldest, reason);
  }

  #dropFrom(session: Session, id: bigint, reason: DropReason): void {
    const entry = session.queue.get(id);
    if (entry !== undefined) this.drop(entry, reason);
  }

  #dropped(reason: DropReason): Counter {
    return this.#deps.metrics.counter('holdfast_session_dropped_total', 'Messages dropped from MQTT sessions.', {
      reason,
    });
  }
}

const reasons: readonly DropReason[] = ['messages', 'bytes', 'total_bytes', 'age', 'expired', 'session_expired'];

/** A message as sessions keep it; the payload is copied, since it may be a slice of a larger buffer. */
export function contentOf(message: StoredMessage): Content {
  const { id, topic, payload, qos, expiry, time, timeQuality, monotonic } = message;
  return { id, topic, payload: Buffer.from(payload), qos, expiry, time, timeQuality, monotonic };
}
