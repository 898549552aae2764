import type { Connected, Disconnected, QoS, StoredEvent } from '../domain/index.ts';

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
