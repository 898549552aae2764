import { type Clock, HoldfastError, reasonOf, type Timer } from '../base/index.ts';
import type { Store, Write } from '../log/index.ts';
import { seal } from './codec.ts';

/** Something in memory that has an entry on disk. */
export abstract class Row {
  /** Whether the disk has an entry for it, as far as batches were taken. */
  stored = false;
  /** Deleted from memory: its entry is to go, too. */
  gone = false;
  abstract key(): Buffer;
  /** Without its checksum. */
  abstract value(): Buffer;
}

interface Waiter {
  readonly sync: boolean;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * Brings changed rows to the disk in batches, one at a time, each a consistent state of all of memory. A row that came
 * and went between two batches costs nothing. `mark` alone is written within `delay`; `flush` says when it is.
 */
export class WriteBehind {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #delay: number;
  readonly #failed: (error: HoldfastError) => void;
  readonly #always: Row;
  #dirty = new Set<Row>();
  #waiting: Waiter[] = [];
  #running: Promise<void> | undefined;
  #timer: Timer | undefined;
  #state: 'closed' | 'open' | 'failed' = 'closed';

  /** `always` is part of every batch. `failed` is told where a write fails: nothing is written then until `resume`. */
  constructor(deps: {
    store: Store;
    clock: Clock;
    delay: number;
    always: Row;
    failed: (error: HoldfastError) => void;
  }) {
    this.#always = deps.always;
    this.#store = deps.store;
    this.#clock = deps.clock;
    this.#delay = deps.delay;
    this.#failed = deps.failed;
  }

  /** The store is open, for the first time or again. */
  resume(): void {
    this.#state = 'open';
    if (this.#dirty.size > 0) this.#arm();
  }

  mark(row: Row): void {
    this.#dirty.add(row);
    if (this.#state === 'open' && this.#timer === undefined) this.#arm();
  }

  /** Marks the row as gone; one that the disk never had leaves no trace. */
  remove(row: Row): void {
    row.gone = true;
    if (!row.stored) this.#dirty.delete(row);
    else this.mark(row);
  }

  /**
   * Resolved once everything marked up to now is written; with `sync`, once it is on the disk.
   * @throws HoldfastError `store_failed`, `unavailable`.
   */
  flush(sync: boolean): Promise<void> {
    if (this.#state !== 'open') {
      const code = this.#state === 'failed' ? 'store_failed' : 'unavailable';
      return Promise.reject(new HoldfastError(code, 'the session store cannot be written at the moment'));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ sync, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** The store did not open: nothing is written until `resume`. */
  fail(): void {
    this.#state = 'failed';
  }

  /** Writes and syncs the rest, and takes no more; whether that worked. */
  async close(): Promise<boolean> {
    const written =
      this.#state === 'open' &&
      (await this.flush(true).then(
        () => true,
        () => false,
      ));
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#state = 'closed';
    await this.#running;
    return written;
  }

  #arm(): void {
    this.#timer = this.#clock.after('sessions flush', this.#delay, () => {
      this.#timer = undefined;
      if (this.#state === 'open') this.#running ??= this.#run();
    });
  }

  async #run(): Promise<void> {
    // what is marked in this turn goes along
    await Promise.resolve();
    do {
      const rows = this.#dirty;
      const waiting = this.#waiting.splice(0);
      this.#dirty = new Set();
      rows.add(this.#always);
      try {
        await this.#store.write(
          writesOf(rows),
          waiting.some(({ sync }) => sync),
        );
        for (const { resolve } of waiting) resolve();
      } catch (thrown) {
        const error = new HoldfastError('store_failed', reasonOf(thrown), { cause: thrown });
        for (const row of this.#dirty) rows.add(row);
        this.#dirty = rows;
        this.#state = 'failed';
        for (const { reject } of [...waiting, ...this.#waiting.splice(0)]) reject(error);
        this.#failed(error);
      }
    } while (this.#waiting.length > 0);
    this.#running = undefined;
    if (this.#state === 'open' && this.#dirty.size > 0 && this.#timer === undefined) this.#arm();
  }
}

function writesOf(rows: ReadonlySet<Row>): Write[] {
  const writes: Write[] = [];
  for (const row of rows) {
    if (!row.gone) {
      const key = row.key();
      writes.push({ type: 'put', key, value: seal(key, row.value()) });
      row.stored = true;
    } else if (row.stored) {
      writes.push({ type: 'del', key: row.key() });
    }
  }
  return writes;
}
