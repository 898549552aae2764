import type { Clock } from '../base/index.ts';
import type { ClockQuality, StoredMessage } from '../domain/index.ts';
import type { LogPage, QueueOptions, Store } from '../log/index.ts';
import type { Condition, Health, Logger, Metrics } from '../telemetry/index.ts';

/** Bounds of what sessions may take; the oldest message gives way to a new one. */
export interface SessionLimits {
  /** Sessions in all. */
  readonly sessions: number;
  /** Messages of one session. */
  readonly messages: number;
  /** Bytes of one session's messages. */
  readonly bytes: number;
  /** Bytes of all sessions' messages, one that several wait for counted once. */
  readonly totalBytes: number;
  /** Messages under way to one client: sent and not acknowledged. */
  readonly inflight: number;
  /** Milliseconds for which a message is kept. */
  readonly maxAge: number;
  /** Milliseconds for which a session without a connection is kept. */
  readonly idle: number;
}

const day = 24 * 3_600_000;
const mebibyte = 1024 * 1024;

export const defaultSessionLimits: SessionLimits = {
  sessions: 10_000,
  messages: 10_000,
  bytes: 16 * mebibyte,
  totalBytes: 64 * mebibyte,
  inflight: 20,
  maxAge: 14 * day,
  idle: 14 * day,
};

/** What sessions need of the log: to read again what they may have missed, and to have it kept until then. */
export interface SessionLog {
  /** The message must be on the disk before its publisher is told: what a session misses is read from there. */
  require(id: bigint): void;
  readonly next: bigint;
  read(from: bigint, max: { readonly records: number; readonly bytes: number }): LogPage | Promise<LogPage>;
  age(message: Pick<StoredMessage, 'id' | 'time' | 'timeQuality' | 'monotonic'>): number | undefined;
  holdFor(name: string, options: QueueOptions): void;
  /** Where the log has it that this reader is. */
  cursor?(name: string): bigint | undefined;
  moveCursor(name: string, to: bigint): void;
}

export interface SessionDeps {
  readonly store: Store;
  readonly log: SessionLog;
  readonly clock: Clock;
  readonly quality: () => ClockQuality;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly health: Health;
  readonly limits: SessionLimits;
}

/** Part of the session store was lost, or had to be repaired. */
export const damaged: Condition = {
  code: 'sessions_damaged',
  severity: 'degraded',
  text: 'The store of sessions was damaged; some clients may have lost subscriptions or queued messages.',
};

/** The session store refuses writes. */
export const failing: Condition = {
  code: 'sessions_failing',
  severity: 'degraded',
  text: 'The store of sessions cannot be written; clients cannot subscribe for good until it can.',
};
