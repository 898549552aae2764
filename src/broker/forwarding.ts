import type { Aedes, AedesPublishPacket, Client } from 'aedes';
import { type QoS, topicMatches } from '../domain/index.ts';
import { logBrokerId, type Session, type Sessions } from './sessions/index.ts';

interface ClientInside {
  readonly subscriptions: Readonly<Record<string, { readonly qos?: number }>>;
}

/** Where the id of the message that is retained under a topic is found. */
export interface RetainedIds {
  get(topic: string): { readonly id: bigint } | undefined;
}

interface Numbered {
  readonly brokerId?: string | null;
  readonly brokerCounter?: unknown;
  readonly messageId?: number | undefined;
  /** The message's id, where the packet waited and aedes must not compare its number. */
  readonly logId?: bigint;
}

/**
 * What a subscriber is sent: QoS 0 unless it does not read; the rest at no more than the QoS of its subscriptions. What a
 * persistent session has queued is sent at that QoS, once to a connection: by its backlog until that is through, then as it
 * comes in.
 */
export function forward(sessions: Sessions, client: Client, packet: AedesPublishPacket): AedesPublishPacket | null {
  if (packet.qos === 0) return isBlocked(client) ? null : packet;
  const session = client.clean ? undefined : sessions.get(client.id);
  if (session === undefined) {
    packet.qos = lower(packet.qos, grantedQos(client, packet.topic));
    return packet;
  }
  if (isFromBacklog(packet)) {
    // aedes forgets the message where it is not to be sent: the rules have changed, or it was unsubscribed from; a client
    // that is being closed has no subscriptions left, and its session has
    return packet.dup || client.closed || grantedQos(client, packet.topic) > 0 ? packet : null;
  }
  packet.qos = lower(packet.qos, grantedQos(client, packet.topic));
  if (packet.qos === 0) return packet;
  const id = idOf(packet);
  if (id !== undefined && !isDue(sessions, session, client, id)) return null;
  return packet;
}

/** The id of a message that `forward` lets go, where it is given to the client for the first time. */
export function firstDelivery(packet: AedesPublishPacket, retained: RetainedIds): bigint | undefined {
  const id = idOf(packet);
  if (id !== undefined) return packet.dup ? undefined : id;
  // aedes numbers a retained message anew
  return packet.retain ? retained.get(packet.topic)?.id : undefined;
}

/** The highest QoS among the client's subscriptions that match: aedes lowers it for filters without wildcards only. */
export function grantedQos(client: Client, topic: string): QoS {
  let granted: QoS = 0;
  const subscriptions = subscriptionsOf(client);
  for (const filter in subscriptions) {
    const qos = subscriptions[filter]?.qos ?? 0;
    if (qos > granted && topicMatches(filter, topic)) granted = qos === 2 ? 2 : 1;
  }
  return granted;
}

/** The client that is connected under an id. */
export function connectedClient(broker: Aedes | undefined, clientId: string): Client | undefined {
  return (broker as unknown as { readonly clients: Readonly<Record<string, Client>> } | undefined)?.clients[clientId];
}

/** All clients that are connected. */
export function connectedClients(broker: Aedes): Iterable<Client> {
  return Object.values((broker as unknown as { readonly clients: Readonly<Record<string, Client>> }).clients);
}

export function subscriptionsOf(client: Client): ClientInside['subscriptions'] {
  return (client as unknown as ClientInside).subscriptions;
}

function isDue(sessions: Sessions, session: Session, client: Client, id: bigint): boolean {
  const entry = session.queue.get(id);
  if (entry === undefined || session.live !== client || entry.connection === session.connection) return false;
  entry.connection = session.connection;
  // counts as under way from now on
  sessions.queues.number(entry);
  return true;
}

function isFromBacklog(packet: Numbered): boolean {
  return idOf(packet) !== undefined && packet.messageId !== undefined;
}

/** The id of the message that a packet carries; undefined for a retained one. */
export function idOf({ brokerId, brokerCounter, logId }: Numbered): bigint | undefined {
  if (logId !== undefined) return logId;
  return brokerId === logBrokerId && typeof brokerCounter === 'bigint' ? brokerCounter : undefined;
}

function lower(a: QoS, b: QoS): QoS {
  return a < b ? a : b;
}

/** Whether the client does not take what it is sent. */
export function isBlocked({ conn }: Client): boolean {
  return 'writableLength' in conn && typeof conn.writableLength === 'number' && conn.writableLength > maxUnsent;
}

/** A socket that has more than this unsent is not read from in time, bytes. */
const maxUnsent = 128 * 1024;
