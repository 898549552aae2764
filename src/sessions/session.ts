import { clientKey, prefix } from './codec.ts';
import type { EntryRow, IncomingRow, SubscriptionRow } from './rows.ts';
import { Row } from './write-behind.ts';

/** When a session was last in use, as the disk has it. */
export interface LastUse {
  /** Wall time, milliseconds. */
  readonly wall: number;
  readonly synced: boolean;
  readonly online: boolean;
}

const maxMessageId = 65_535;

/** One persistent session: what outlives the connection of a client that came with clean session 0. */
export class Session extends Row {
  readonly clientId: string;
  readonly subscriptions = new Map<string, SubscriptionRow>();
  /** Messages by log id, which is their order. */
  readonly queue = new Map<bigint, EntryRow>();
  /** Messages under way to the client, by packet identifier; those that await PUBCOMP included. */
  readonly sent = new Map<number, EntryRow>();
  /** Retained messages under way to the client, by packet identifier: their topics; undefined where PUBCOMP is awaited. */
  readonly retained = new Map<number, string | undefined>();
  /** Topics of retained messages that were there when it subscribed, and that the client has not got. */
  readonly due = new Set<string>();
  readonly incoming = new Map<number, IncomingRow>();
  bytes = 0;
  /** Highest id ever queued in this run. */
  newest = 0n;
  /** The client connected now, and the one of them that has its backlog and is sent what comes in. */
  owner: object | undefined;
  live: object | undefined;
  connection = 0;
  /** Whether messages of the queue wait for the client to acknowledge those before them. */
  behind = false;
  lastUse: LastUse;
  /** Monotonic time of the last use, where it is offline. */
  idleSince = 0;
  /** Messages of the backlog that aedes has not yet written, and who waits for that. */
  drawn = 0;
  wake: (() => void) | undefined;
  #lastMessageId = 0;

  constructor(clientId: string, lastUse: LastUse) {
    super();
    this.clientId = clientId;
    this.lastUse = lastUse;
  }

  /** A packet identifier that is not in use. */
  allocate(): number {
    do {
      this.#lastMessageId = this.#lastMessageId >= maxMessageId ? 1 : this.#lastMessageId + 1;
    } while (
      (this.sent.has(this.#lastMessageId) || this.retained.has(this.#lastMessageId)) &&
      this.sent.size + this.retained.size < maxMessageId
    );
    return this.#lastMessageId;
  }

  /** Goes on with packet identifiers behind one that an earlier run used. */
  used(messageId: number): void {
    this.#lastMessageId = Math.max(this.#lastMessageId, messageId);
  }

  /** One message of the backlog came back from aedes, or was dropped. */
  returned(entry: EntryRow): void {
    if (!entry.drawn) return;
    entry.drawn = false;
    this.drawn -= 1;
    if (this.drawn === 0) this.wake?.();
  }

  override key(): Buffer {
    return clientKey(prefix.session, this.clientId);
  }

  override value(): Buffer {
    return Buffer.from(JSON.stringify(this.lastUse));
  }
}

/** What aedes is given of a session's backlog. */
export interface BacklogPacket {
  readonly cmd: 'publish' | 'pubrel';
  readonly messageId?: number;
  readonly [field: string]: unknown;
}

/**
 * The session's messages for the client that has just come, in order, first those that await PUBCOMP; ends once the
 * client has all, what came in meanwhile included, or `max` that it has not acknowledged, and only then is the client sent
 * what comes in. `expired`: whether to leave a message out.
 */
export async function* backlog(
  session: Session,
  client: object,
  max: number,
  expired: (entry: EntryRow) => boolean,
): AsyncGenerator<BacklogPacket> {
  // taken over before it began
  if (session.owner !== undefined && session.owner !== client) return;
  session.live = undefined;
  session.behind = false;
  session.connection += 1;
  session.drawn = 0;
  session.wake?.();
  for (const entry of session.queue.values()) entry.drawn = false;
  const { connection } = session;
  for (const [messageId, { content }] of [...session.sent]) {
    if (content === undefined && session.sent.has(messageId)) yield { cmd: 'pubrel', messageId };
  }
  for (const [messageId, topic] of [...session.retained]) {
    if (topic === undefined && session.retained.has(messageId)) yield { cmd: 'pubrel', messageId };
  }
  let entries = session.queue.values();
  let last = -1n;
  while (session.connection === connection) {
    const next = last < session.newest ? entries.next() : undefined;
    if (next?.done === true) {
      // the newest was dropped; an iterator that has ended stays so
      entries = session.queue.values();
      last = session.newest;
    } else if (next !== undefined) {
      const entry = next.value;
      last = entry.id;
      while (isFull(entry, max) && session.drawn > 0 && session.connection === connection) await returns(session);
      if (session.connection !== connection) return;
      if (isFull(entry, max)) {
        session.live = client;
        session.behind = true;
        return;
      }
      const packet = entry.connection === connection ? undefined : draw(entry, expired);
      if (packet !== undefined) yield packet;
    } else if (session.drawn > 0) {
      await returns(session);
    } else {
      session.live = client;
      return;
    }
  }
}

function returns(session: Session): Promise<void> {
  return new Promise((resolve) => {
    session.wake = resolve;
  });
}

/** Whether a message must wait that was not sent before; those that were sent are sent again in any case. */
function isFull({ session, messageId, connection }: EntryRow, max: number): boolean {
  if (messageId !== 0 || connection === session.connection) return false;
  return session.sent.size + session.drawn >= max;
}

function draw(entry: EntryRow, expired: (entry: EntryRow) => boolean): BacklogPacket | undefined {
  const { session, content, messageId } = entry;
  if (content === undefined || expired(entry)) return undefined;
  entry.connection = session.connection;
  entry.drawn = true;
  session.drawn += 1;
  const { topic, payload } = content.content;
  return {
    cmd: 'publish',
    topic,
    payload,
    qos: entry.qos,
    retain: false,
    dup: messageId !== 0,
    brokerId: logBrokerId,
    brokerCounter: entry.id,
    ...(messageId === 0 ? {} : { messageId }),
  };
}

/** The broker id that marks packets numbered by the log, whose `brokerCounter` is the message's id. */
export const logBrokerId = 'log';
