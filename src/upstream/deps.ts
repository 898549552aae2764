import type { HoldfastError } from '../base/index.ts';
import type { Message, Span, StoredMessage } from '../domain/index.ts';

export interface LogPage {
  readonly messages: readonly StoredMessage[];
  /** The id to continue from; may lie beyond the last message. */
  readonly next: bigint;
  /** Records of that span known to be missing or damaged. */
  readonly lost: number;
}

/** Says of a message just accepted whether it is wanted, and whether it is sent at once. */
export interface Deliverer {
  takes(message: Message, id: bigint): 'no' | 'now' | 'later';
}

/** What an upstream needs of the log: records in id order, and a cursor kept under its name. */
export interface UpstreamLog {
  /**
   * Messages with id >= `from`, in order, at most about `max`. No messages and `next === from`: nothing more now.
   * May answer without a promise where it has them in memory.
   */
  read(from: bigint, max: { readonly records: number; readonly bytes: number }): LogPage | Promise<LogPage>;
  /** The first id still held. */
  readonly head: bigint;
  /** The id that the next record will get. */
  readonly next: bigint;
  /** Messages with id >= `from` (not below `next`) that were accepted and are not on the disk yet. */
  ahead(from: bigint): LogPage;
  /** Takes in somebody whose acknowledgement is as good as the disk's; returns what ends that. */
  deliverThrough(deliverer: Deliverer): () => void;
  /** A message that was taken `now` is acknowledged. */
  delivered(id: bigint): void;
  cursor(name: string): bigint | undefined;
  /** What this upstream has got beyond its cursor, rising. */
  done(name: string): readonly Span[];
  /**
   * Everything below `to` may be trimmed as far as this upstream is concerned, and what is in `done` it has got too. Kept
   * unsynced, at most a second late.
   */
  moveCursor(name: string, to: bigint, done?: readonly Span[]): void;
  /** Messages of QoS 0 below this id are to be given up: the queue has met a bound. */
  shedBelow(name: string): bigint;
  /** Called after each commit, until the function returned is called. */
  onCommit(listener: () => void): () => void;
  /** What waits for that upstream, where the log keeps count. */
  queued?(name: string): { readonly messages: number; readonly bytes: number; readonly oldestAge?: number } | undefined;
}

/** Where downlinks go. `done` is called once: without an error when the message is logged durably. */
export interface DownlinkSink {
  publish(message: Message, done: (error?: HoldfastError, id?: bigint) => void): void;
}

/** Milliseconds since a message was accepted, or undefined where no clock can tell. */
export type AgeOf = (message: StoredMessage) => number | undefined;
