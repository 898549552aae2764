import { type Clock, HoldfastError, reasonOf, type Timer } from '../base/index.ts';
import { type ClockQuality, type Message, type StoredMessage, storedMessage } from '../domain/index.ts';
import type { Chunk } from './chunk.ts';
import { type Deliverer, Deliverers } from './delivery.ts';
import type { LogFigures } from './figures.ts';
import { type Accepted, type Committed, Gathering } from './gathering.ts';
import { type StateChange, writeOfChange } from './kept.ts';
import { chunkPrefix, idKey } from './keys.ts';
import type { LogOptions } from './options.ts';
import type { LogPage } from './reader.ts';
import type { Store, Write } from './store.ts';

export interface CommitterDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly quality: () => ClockQuality;
  readonly options: LogOptions;
  readonly figures: LogFigures;
  /** What goes along with a chunk. `accepted`: the id behind the last message that was accepted. */
  readonly along: (chunk: Chunk, accepted: bigint, sync: boolean) => Write[];
  /** A chunk was written; called before those who wait for it are told. */
  readonly onWritten: (chunk: Chunk, sync: boolean) => void;
  /** All were told. */
  readonly onDone: () => void;
  readonly onFailed: (error: HoldfastError) => void;
  /** What has to be over before more is written; undefined where there is room. */
  readonly room: () => Promise<void> | undefined;
}

/** How long a commit waits at most for room to be made, milliseconds. */
const longestHold = 2_000;

/**
 * Brings what was accepted to the disk, in the order of ids: as soon as that is possible where a record waits for the disk
 * alone, after `commitDelay` where upstreams may acknowledge it first, and without an fsync once they have.
 */
export class Committer {
  readonly #deps: CommitterDeps;
  readonly #deliverers = new Deliverers();
  readonly #pending = new Gathering();
  /** Id of the first record that gathers. */
  #first = 0n;
  /** What the write under way holds. */
  #writing: readonly Accepted[] = [];
  #underWay: Promise<void> | undefined;
  #begun = 0;
  #lastSync = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;
  #armed: 'none' | 'later' | 'soon' = 'none';
  /** Monotonic time for which `later` is armed. */
  #due = 0;
  #running = false;

  constructor(deps: CommitterDeps) {
    this.#deps = deps;
  }

  /** Begins with the id `first`. */
  start(first: bigint): void {
    this.#first = first;
    this.#running = true;
  }

  /** Writes all that waits, then nothing more. */
  async stop(): Promise<void> {
    this.#disarm();
    while (this.#running && (this.#underWay !== undefined || this.#pending.count > 0)) {
      this.#underWay ??= this.#write(this.#pending.count, true);
      await this.#underWay;
    }
    this.#running = false;
  }

  /** Nothing more is written, and all who wait are told why. */
  fail(error: HoldfastError): void {
    this.#running = false;
    this.#disarm();
    this.#pending.fail(error);
  }

  /** The id that the next message gets. */
  get next(): bigint {
    return this.#first + BigInt(this.#pending.count);
  }

  /** Bytes that wait. */
  get bytes(): number {
    return this.#pending.bytes;
  }

  /** Whether no write is under way or about to be. */
  get idle(): boolean {
    return this.#running && this.#underWay === undefined && !this.#pending.urgent;
  }

  /** Milliseconds for which the write under way has taken; 0 where there is none. */
  get stalledFor(): number {
    return this.#underWay === undefined ? 0 : this.#deps.clock.monotonic() - this.#begun;
  }

  /** Takes a message in; a `change` is written in the same batch, and only the disk counts then. */
  add(message: Message, done: Committed, change: StateChange | undefined): bigint {
    const { clock, options } = this.#deps;
    const id = this.next;
    const early = change === undefined && options.commitDelay > 0;
    this.#pending.add(message, clock.monotonic(), done, early ? this.#deliverers.offer(message, id) : 0);
    if (change !== undefined) this.#pending.addChange(writeOfChange(change, message, id, this.#deps));
    this.#schedule();
    return id;
  }

  deliverThrough(deliverer: Deliverer): () => void {
    return this.#deliverers.add(deliverer);
  }

  delivered(id: bigint): void {
    if (id < this.#first || !this.#pending.delivered(Number(id - this.#first))) return;
    this.#deps.figures.delivered.add();
    // the first is settled: there is something to write without an fsync now
    if (id === this.#first) this.#schedule();
  }

  require(id: bigint): void {
    if (id < this.#first) return;
    this.#pending.require(Number(id - this.#first));
    this.#schedule();
  }

  /** Messages from `from` on that are not on the disk yet. */
  ahead(from: bigint): LogPage {
    const first = this.#first - BigInt(this.#writing.length);
    const { clock, quality } = this.#deps;
    const shift = clock.wall() - clock.monotonic();
    const timeQuality = quality();
    const messages: StoredMessage[] = [];
    let index = from > first ? Number(from - first) : 0;
    for (;;) {
      const one = this.#writing[index] ?? this.#pending.accepted[index - this.#writing.length];
      if (one === undefined) break;
      const { message, since } = one;
      const id = first + BigInt(index);
      messages.push(storedMessage(message, id, Math.round(since + shift), timeQuality, since));
      index += 1;
    }
    return { messages, next: messages.length === 0 ? from : first + BigInt(index), lost: 0 };
  }

  /** Arms what writes next: at once where a record waits for the disk alone, else when the first of the delays ends. */
  #schedule(): void {
    if (this.#underWay !== undefined || this.#pending.count === 0 || this.#armed === 'soon') return;
    const { clock, options } = this.#deps;
    if (this.#pending.urgent) {
      this.#arm();
      return;
    }
    const due = this.#pending.due(options);
    if (this.#armed === 'later' && this.#due <= due) return;
    this.#disarm();
    this.#armed = 'later';
    this.#due = due;
    this.#timer = clock.after('log delay', Math.max(1, due - clock.monotonic()), () => {
      this.#armed = 'none';
      this.#late();
    });
  }

  /** Arms a commit of all, once the gap is over. */
  #arm(): void {
    const { clock, options } = this.#deps;
    this.#timer?.cancel();
    this.#armed = 'soon';
    const run = () => this.#begin(this.#pending.count, true);
    const wait = this.#lastSync + options.commitGap - clock.monotonic();
    if (wait > 0) {
      this.#timer = clock.after('log commit', wait, run);
      return;
    }
    // two turns of the event loop: what the acknowledgements of the last commit call forth comes along with this one
    this.#timer = clock.soon('log commit', () => {
      this.#timer = clock.soon('log commit', run);
    });
  }

  /** What was not delivered in time goes to the disk; what was is written without an fsync, for the history. */
  #late(): void {
    const { clock, options } = this.#deps;
    const now = clock.monotonic();
    if (this.#pending.overdue(options, now)) this.#arm();
    else if (this.#pending.late(options, now)) this.#begin(this.#pending.settled, false);
    else this.#schedule();
  }

  #begin(count: number, sync: boolean): void {
    this.#disarm();
    this.#underWay ??= this.#write(count, sync);
  }

  #disarm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#armed = 'none';
  }

  /** Waits for `room`, but not for long: who publishes waits as well, and so does who watches over commits. */
  #soon(room: Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#deps.clock.after('log room', longestHold, resolve);
      void room.then(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  async #write(count: number, sync: boolean): Promise<void> {
    const { store, clock, quality, figures, along, onWritten, onDone, onFailed } = this.#deps;
    this.#begun = clock.monotonic();
    const room = this.#deps.room();
    if (room !== undefined) {
      await this.#soon(room);
      if (this.#pending.count < count || !this.#running) {
        this.#underWay = undefined;
        return;
      }
    }
    const begun = clock.monotonic();
    // an fsync is for all that is there by now: changes go with the last of the records
    const taken = this.#pending.take(sync ? this.#pending.count : count, this.#first, begun, clock.wall(), quality());
    const { header, bytes } = taken.chunk;
    this.#writing = taken.accepted;
    this.#first += BigInt(header.count);
    this.#begun = begun;
    if (sync) this.#lastSync = begun;
    const chunk: Write = { type: 'put', key: idKey(chunkPrefix, header.first), value: bytes };
    let error: HoldfastError | undefined;
    try {
      await store.write([...taken.changes, chunk, ...along(taken.chunk, this.next, sync)], sync);
    } catch (thrown) {
      error = new HoldfastError('store_failed', `the message store cannot be written: ${reasonOf(thrown)}`, {
        cause: thrown,
      });
    }
    this.#underWay = undefined;
    this.#writing = [];
    if (error === undefined) {
      figures.committed(header.count, clock.monotonic() - begun, sync);
      onWritten(taken.chunk, sync);
    } else {
      onFailed(error);
    }
    for (const done of taken.waiting) done?.(error);
    if (error !== undefined) return;
    if (this.#running) this.#schedule();
    onDone();
  }
}
