import type { Clock } from '../base/index.ts';
import type { Store } from '../log/index.ts';
import type { Condition, Health, Logger, Metrics } from '../telemetry/index.ts';
import type { IndexedLog } from './indexed-log.ts';

export interface IndexOptions {
  /** Milliseconds after a commit at which the index follows. */
  readonly followDelay: number;
  /** Postings kept in memory at most, about: then they are written. */
  readonly flushPostings: number;
  /** Milliseconds after which they are written at the latest. */
  readonly flushInterval: number;
  /** Entries handed to the store in one write, about. */
  readonly flushWrites: number;
  /** Blocks written between two sweeps at least, and postings. */
  readonly sweepBlocks: number;
  readonly sweepPostings: number;
  /** Milliseconds after which a sweep is due where anything at all was deleted from the log. */
  readonly sweepInterval: number;
  /** Bytes deleted after which their space is given back at the earliest. */
  readonly compactBytes: number;
  /** Bytes that the directory may take, and a third more at a moment: the oldest postings go where it takes more. */
  readonly maxBytes: number;
}

export const defaultOptions: IndexOptions = {
  followDelay: 150,
  flushPostings: 65_536,
  flushInterval: 600_000,
  flushWrites: 128,
  sweepBlocks: 8_192,
  sweepPostings: 131_072,
  sweepInterval: 86_400_000,
  compactBytes: 8 * 1024 * 1024,
  maxBytes: Number.POSITIVE_INFINITY,
};

export interface IndexDeps {
  readonly store: Store;
  readonly log: IndexedLog;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly health: Health;
  /**
   * Deletes the store's files while it is closed: how a rebuild gets rid of what cannot be read. Without it a rebuild
   * deletes the entries one by one, which a damaged table may prevent.
   */
  readonly discard?: () => Promise<void>;
  readonly options?: Partial<IndexOptions>;
}

export const rebuilding: Condition = {
  code: 'index_rebuilding',
  severity: 'degraded',
  text: 'The query index is being brought up to date from the log; until then queries answer from what it has.',
};

export const damagedIndex: Condition = {
  code: 'index_damaged',
  severity: 'degraded',
  text: 'A part of the query index could not be read; the index is built anew from the log.',
};

export const failingIndex: Condition = {
  code: 'index_failing',
  severity: 'degraded',
  text: 'The query index cannot be written; queries do not show what came in since.',
};
