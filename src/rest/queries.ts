import type { ConnectionFacts, QoS, StoredMessage } from '../domain/index.ts';
import type { ConnectionRecord, DeliveryRecord, MessageRecord, PageOf, Rows, TimeWindow } from '../index/index.ts';

/** What the API asks of the gateway's past. Client ids are full ones; what retention has deleted is in no answer. */
export interface Queries {
  connectionRecords(clientId: string, window: TimeWindow, page: PageOf): Promise<Rows<ConnectionRecord>>;
  /** The newest `connected` record of a login that was let in. */
  lastConnection(clientId: string): Promise<ConnectionRecord | undefined>;
  messageRecords(clientId: string, window: TimeWindow, page: PageOf): Promise<Rows<MessageRecord>>;
  deliveries(message: bigint, clientId: string, window: TimeWindow, page: PageOf): Promise<Rows<DeliveryRecord>>;
  message(id: bigint): Promise<StoredMessage | undefined>;
  /** The uplinks to exactly `topic`. Messages are read as they are asked for, so that a page is never in memory as a whole. */
  topicMessages(
    topic: string,
    window: TimeWindow,
    page: PageOf,
  ): Promise<{ readonly total: number; readonly messages: AsyncIterable<StoredMessage> }>;
}

/** A client that is connected now. */
export interface OnlineClient extends ConnectionFacts {
  /** Wall time, milliseconds. */
  readonly connectedAt: number;
}

export interface Subscription {
  /** Topic filter. */
  readonly topic: string;
  readonly qos: QoS;
}

/** What the API asks of the gateway's present. */
export interface Presence {
  /** The oldest connection first; may be gone through across turns, while clients come and go. */
  online(): Iterable<OnlineClient>;
  find(clientId: string): OnlineClient | undefined;
  /** Those of a connected client, or what the session of one that is away still holds. */
  subscriptions(clientId: string): readonly Subscription[];
}
