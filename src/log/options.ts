import type { Clock } from '../base/index.ts';
import type { ClockQuality } from '../domain/index.ts';
import type { Condition, Health, Logger, Metrics } from '../telemetry/index.ts';
import type { NumberFile } from './boot-number.ts';
import type { DiskSpace } from './disk-space.ts';
import type { RetentionBounds } from './segments.ts';
import type { Store } from './store.ts';

export interface LogOptions {
  /** Least time between the starts of two commits, milliseconds. */
  readonly commitGap: number;
  /** How long upstreams have to acknowledge a message in place of the disk, milliseconds; 0 = only the disk counts. */
  readonly commitDelay: number;
  /** How long what they acknowledged may wait to be written for the history, milliseconds. */
  readonly lazyDelay: number;
  readonly history: RetentionBounds;
  /** Bytes that may wait for a commit; beyond, an append is refused as `overloaded`. */
  readonly maxPendingBytes: number;
  /** Bytes of committed chunks kept in memory for readers that keep up. */
  readonly recentBytes: number;
}

export interface LogDeps {
  readonly store: Store;
  readonly bootFile: NumberFile;
  readonly space: DiskSpace;
  readonly clock: Clock;
  readonly quality: () => ClockQuality;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly health: Health;
  readonly options: LogOptions;
  /** Bytes that other directories take of the history's: what is derived from the log. */
  readonly elsewhere?: () => number;
}

/** Part of the store was lost, or had to be repaired. */
export const damaged: Condition = {
  code: 'store_damaged',
  severity: 'degraded',
  text: 'The message store was damaged; what could be read was kept and the rest was set aside.',
};
/** The store refuses writes. */
export const failing: Condition = {
  code: 'store_failing',
  severity: 'failed',
  text: 'The message store cannot be written; nothing new is acknowledged until it can.',
};
