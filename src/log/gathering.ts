import type { HoldfastError } from '../base/index.ts';
import type { Message } from '../domain/index.ts';
import { type Chunk, ChunkWriter } from './chunk.ts';
import type { Write } from './store.ts';

/** Called once the record is on disk or delivered, or with the error where it will not be. */
export type Committed = (error: HoldfastError | undefined) => void;

/** A message that was accepted and is not yet on disk. Monotonic time in milliseconds. */
export interface Accepted {
  readonly message: Message;
  readonly since: number;
}

/** How long records may stay in memory, milliseconds: while acknowledgements are awaited, and once they are there. */
export interface Delays {
  readonly commitDelay: number;
  readonly lazyDelay: number;
}

/** What is written next: a chunk, the changes that go with it, and who waits to be told. */
export interface Taken {
  readonly chunk: Chunk;
  readonly changes: Write[];
  readonly waiting: readonly (Committed | undefined)[];
  readonly accepted: readonly Accepted[];
}

/**
 * What arrived for the next commit: records, the changes that go with them, and who waits to be told. A record that is
 * acknowledged elsewhere before its commit is settled: nobody waits for it any more.
 */
export class Gathering {
  #writer = new ChunkWriter();
  #changes: Write[] = [];
  #waiting: (Committed | undefined)[] = [];
  /** Acknowledgements that are outstanding, by record; 0 = only the disk counts. */
  #deliveries: number[] = [];
  #accepted: Accepted[] = [];
  #urgent = false;
  /** Records before this one are settled. */
  #settled = 0;

  get count(): number {
    return this.#writer.count;
  }

  get bytes(): number {
    return this.#writer.bytes;
  }

  /** Whether a record waits for the disk alone. */
  get urgent(): boolean {
    return this.#urgent;
  }

  /** How many records from the first on are settled. */
  get settled(): number {
    while (this.#settled < this.#waiting.length && this.#waiting[this.#settled] === undefined) this.#settled += 1;
    return this.#settled;
  }

  /** When something has to be written at the latest, monotonic milliseconds, as far as is known now. */
  due({ commitDelay, lazyDelay }: Delays): number {
    const oldest = this.settled === 0 ? Number.POSITIVE_INFINITY : (this.#accepted[0]?.since ?? 0) + lazyDelay;
    return Math.min(oldest, (this.#accepted[this.settled]?.since ?? Number.POSITIVE_INFINITY) + commitDelay);
  }

  /** Whether a record has waited for its acknowledgements for too long. */
  overdue({ commitDelay }: Delays, now: number): boolean {
    const unsettled = this.#accepted[this.settled];
    return unsettled !== undefined && now - unsettled.since >= commitDelay;
  }

  /** Whether what is settled is to be written. */
  late({ lazyDelay }: Delays, now: number): boolean {
    const oldest = this.settled === 0 ? undefined : this.#accepted[0];
    return oldest !== undefined && now - oldest.since >= lazyDelay;
  }

  /** All records, for who reads ahead of the disk. */
  get accepted(): readonly Accepted[] {
    return this.#accepted;
  }

  add(message: Message, monotonic: number, done: Committed, deliveries: number): void {
    this.#writer.add(message, monotonic);
    this.#waiting.push(done);
    this.#deliveries.push(deliveries);
    this.#accepted.push({ message, since: monotonic });
    if (deliveries === 0) this.#urgent = true;
  }

  /** One more acknowledgement for a record; true where that was the last one and who waited was told. */
  delivered(index: number): boolean {
    const left = this.#deliveries[index] ?? 0;
    if (left === 0) return false;
    this.#deliveries[index] = left - 1;
    if (left > 1) return false;
    const done = this.#waiting[index];
    this.#waiting[index] = undefined;
    done?.(undefined);
    return true;
  }

  /** Only the disk counts for a record from now on. */
  require(index: number): void {
    if (this.#waiting[index] === undefined) return;
    this.#deliveries[index] = 0;
    this.#urgent = true;
  }

  addChange(write: Write): void {
    this.#changes.push(write);
  }

  /** The first `count` records, or all with the changes. Arguments as of `ChunkWriter.take`. */
  take(count: number, ...moment: Parameters<ChunkWriter['take']>): Taken {
    if (count < this.#writer.count) {
      this.#settled = 0;
      this.#deliveries.splice(0, count);
      return {
        chunk: this.#writer.takeFirst(count, ...moment),
        changes: [],
        waiting: this.#waiting.splice(0, count),
        accepted: this.#accepted.splice(0, count),
      };
    }
    const taken = {
      chunk: this.#writer.take(...moment),
      changes: this.#changes,
      waiting: this.#waiting,
      accepted: this.#accepted,
    };
    this.#clear();
    return taken;
  }

  /** Tells all that wait that it will not come, and forgets their records. */
  fail(error: HoldfastError): void {
    const waiting = this.#waiting;
    this.#writer = new ChunkWriter();
    this.#clear();
    for (const done of waiting) done?.(error);
  }

  #clear(): void {
    this.#changes = [];
    this.#waiting = [];
    this.#deliveries = [];
    this.#accepted = [];
    this.#urgent = false;
    this.#settled = 0;
  }
}
