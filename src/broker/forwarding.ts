import type { Aedes, AedesPublishPacket, Client } from 'aedes';
import { type QoS, topicMatches } from '../domain/index.ts';
import { logBrokerId, type Session, type Sessions } from './sessions/index.ts';

interface ClientInside {
  readonly subscriptions: Readonly<Record<string, { readonly qos?: number }>>;
  deliver0: Deliver;
  readonly deliverQoS: Deliver;
}

/** Where the id of the message that is retained under a topic is found. */
export interface RetainedIds {
  get(topic: string): { readonly id: bigint } | undefined;
}

type Deliver = (packet: AedesPublishPacket, done: () => void) => void;

interface Numbered {
  readonly brokerId?: string | null;
  readonly brokerCounter?: unknown;
  readonly messageId?: number | undefined;
}

/**
 * What a subscriber is sent: QoS 0 unless it does not read; the rest at no more than the QoS of its subscriptions. What a
 * persistent session has queued is sent at that QoS, once to a connection: by its backlog until that is through, then as it
 * comes in.
 */
export function forward(sessions: Sessions, client: Client, packet: AedesPublishPacket): AedesPublishPacket | null {
  if (packet.qos === 0) return slow(client) ? null : packet;
  const session = client.clean ? undefined : sessions.get(client.id);
  if (session === undefined) {
    packet.qos = lower(packet.qos, grantedQos(client, packet.topic));
    return packet;
  }
  if (isFromBacklog(packet)) {
    // aedes forgets the message where it is not to be sent: the rules have changed, or it was unsubscribed from
    return packet.dup || grantedQos(client, packet.topic) > 0 ? packet : null;
  }
  packet.qos = lower(packet.qos, grantedQos(client, packet.topic));
  if (packet.qos === 0) return packet;
  const id = idOf(packet);
  if (id !== undefined) return isDue(session, client, id) ? packet : null;
  // a retained message: aedes would take an identifier that may be in use
  Object.assign(packet, { messageId: session.allocate() });
  return packet;
}

/** The id of a message that `forward` lets go, where it is given to the client for the first time. */
export function firstDelivery(packet: AedesPublishPacket, retained: RetainedIds): bigint | undefined {
  const id = idOf(packet);
  if (id !== undefined) return packet.dup ? undefined : id;
  // aedes numbers a retained message anew
  return packet.retain ? retained.get(packet.topic)?.id : undefined;
}

/** Has a QoS 1 message that matches a subscription of QoS 0, too, delivered as QoS 1: aedes takes the first. */
export function preferStored(client: Client): void {
  const inside = client as unknown as ClientInside;
  const deliver0 = inside.deliver0;
  inside.deliver0 = (packet, done) => {
    if (packet.qos > 0 && grantedQos(client, packet.topic) > 0) inside.deliverQoS(packet, done);
    else deliver0(packet, done);
  };
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

export function subscriptionsOf(client: Client): ClientInside['subscriptions'] {
  return (client as unknown as ClientInside).subscriptions;
}

function isDue(session: Session, client: Client, id: bigint): boolean {
  const entry = session.queue.get(id);
  if (entry === undefined || session.live !== client || entry.connection === session.connection) return false;
  entry.connection = session.connection;
  return true;
}

function isFromBacklog(packet: Numbered): boolean {
  return idOf(packet) !== undefined && packet.messageId !== undefined;
}

function idOf({ brokerId, brokerCounter }: Numbered): bigint | undefined {
  return brokerId === logBrokerId && typeof brokerCounter === 'bigint' ? brokerCounter : undefined;
}

function lower(a: QoS, b: QoS): QoS {
  return a < b ? a : b;
}

/** Whether the client does not read what it is sent: QoS 0 is then dropped, so that nobody else waits for it. */
function slow(client: Client): boolean {
  return 'writableNeedDrain' in client.conn && client.conn.writableNeedDrain === true;
}
