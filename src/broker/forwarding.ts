import type { Aedes, AedesPublishPacket, Client } from 'aedes';
import { type StoredMessage, topicMatches } from '../domain/index.ts';
import { logBrokerId } from '../sessions/index.ts';

interface ClientInside {
  readonly subscriptions: Readonly<Record<string, { readonly qos?: number }>>;
}

/** Where retained messages are found. */
export interface RetainedSource {
  get(topic: string): StoredMessage | undefined;
  matching(filter: string): Iterable<StoredMessage>;
}

/**
 * Whether a message of a session's backlog is to be sent; aedes has it forgotten where it is not: the rules have changed, or
 * it was unsubscribed from. A client that is being closed has no subscriptions left, and its session has.
 */
export function isWanted(client: Client, { dup, topic }: Pick<AedesPublishPacket, 'dup' | 'topic'>): boolean {
  if (dup || client.closed) return true;
  return Object.keys(subscriptionsOf(client)).some((filter) => topicMatches(filter, topic));
}

/** The id of the message that a packet of a backlog carries. */
export function idOf({ brokerId, brokerCounter }: { brokerId?: string; brokerCounter?: unknown }): bigint | undefined {
  return brokerId === logBrokerId && typeof brokerCounter === 'bigint' ? brokerCounter : undefined;
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

/** Whether the client does not take what it is sent. */
export function isBlocked({ conn }: Client): boolean {
  return 'writableLength' in conn && typeof conn.writableLength === 'number' && conn.writableLength > maxUnsent;
}

/** A socket that has more than this unsent is not read from in time, bytes. */
const maxUnsent = 128 * 1024;
