import type { EventPlace, StoredEvent } from '../domain/index.ts';
import type { EventPage, LogPage } from '../log/index.ts';

/** What the index needs of the log. */
export interface IndexedLog {
  /** Id of the oldest message kept; rises as retention deletes from the front. */
  readonly head: bigint;
  /** Id behind the last committed message. */
  readonly next: bigint;
  /** Milliseconds to add to a time of that boot that was recorded before its clock was set; 0 where that is not known. */
  shiftOf(boot: number): number;
  read(from: bigint, max: { readonly records: number; readonly bytes: number }): LogPage | Promise<LogPage>;
  readonly events: {
    /** The oldest run of events kept. */
    readonly head: EventPlace;
    /** Whole runs at `from` and behind it; where there are none, `next` equals `from`. */
    read(from: EventPlace, max: { readonly bytes: number }): Promise<EventPage>;
    /** The run of events at exactly that place; empty where it is gone. */
    at(place: EventPlace): Promise<readonly StoredEvent[]>;
  };
  /** Calls `listener` after commits, and after events were written; returns what ends that. */
  onCommit(listener: () => void): () => void;
}
