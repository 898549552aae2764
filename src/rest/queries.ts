import type { Connected, ConnectionFacts, Disconnected, QoS, StoredEvent, StoredMessage } from '../domain/index.ts';

/** Wall times in milliseconds, both ends included; empty where `to` is before `from`. */
export interface TimeWindow {
  readonly from: number;
  readonly to: number;
}

/** Which rows of the whole result, in which order: `asc` is oldest first. */
export interface PageOf {
  readonly skip: number;
  readonly limit: number;
  readonly order: 'asc' | 'desc';
}

/** The rows of a page, and how many there are in all. */
export interface Rows<Row> {
  readonly rows: readonly Row[];
  readonly total: number;
}

export type ConnectionRecord = StoredEvent<Connected | Disconnected>;

/** A message that a client published (`uplink`), or one that was given to it. */
export interface MessageRecord {
  readonly time: number;
  readonly message: bigint;
  readonly direction: 'uplink' | 'downlink';
}

export interface DeliveryRecord {
  readonly time: number;
  readonly qos: QoS;
}

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
