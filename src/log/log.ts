import { HoldfastError, reasonOf, type Service, type Timer } from '../base/index.ts';
import { bootOf, type Message, makeMessageId, type StoredMessage } from '../domain/index.ts';
import { Cursors, type QueueOptions } from './cursors.ts';
import { DiskReader } from './disk-reader.ts';
import { Events } from './events.ts';
import { type Committed, Gathering } from './gathering.ts';
import { readKept, type StateChange, writeOfChange } from './kept.ts';
import { chunkPrefix, idKey } from './keys.ts';
import { openLog } from './opening.ts';
import { damaged, failing, type LogDeps } from './options.ts';
import type { LogPage } from './reader.ts';
import { RecentChunks } from './recent.ts';
import { segmentWrite } from './recovery.ts';
import { Retention } from './retention.ts';
import { Segments } from './segments.ts';

const reopenDelay = 1_000;
const housekeeping = 1_000;

/** The append-only log. See this folder's `index.ts` for its design. */
export class Log implements Service {
  readonly name = 'log';
  /** What is recorded beside the messages. */
  readonly events: Events;
  readonly #deps: LogDeps;
  readonly #recent: RecentChunks;
  #segments = new Segments();
  readonly #pending = new Gathering();
  /** Id of the first record of the chunk that gathers. */
  #gathering = 0n;
  #committed = 0n;
  #state: 'closed' | 'open' | 'failed' = 'closed';
  #committing: Promise<void> | undefined;
  #lastCommit = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;
  #keeper: Timer | undefined;
  #upkeep: Promise<void> | undefined;
  #rejecting = false;
  /** The boot number this process began with; a store opened anew gets a higher one under the same monotonic clock. */
  #firstBoot = 0;
  readonly #cursors = new Cursors();
  readonly #retention: Retention;
  readonly #disk: DiskReader;
  readonly #listeners = new Set<() => void>();
  readonly #commits;
  readonly #commitMs;
  readonly #records;

  constructor(deps: LogDeps) {
    this.#deps = deps;
    this.#recent = new RecentChunks(deps.options.recentBytes);
    const { metrics } = deps;
    this.#disk = new DiskReader({
      store: deps.store,
      clock: deps.clock,
      logger: deps.logger,
      segments: () => this.#segments,
      until: () => this.#committed,
      onDamage: (detail) => deps.health.raise(damaged, detail),
      onAgain: () => this.#announce(),
    });
    this.events = new Events({
      ...deps,
      history: deps.options.history,
      place: () => {
        const idle = this.#committing === undefined && this.#pending.count === 0;
        return this.#state === 'open' && idle ? this.#gathering : undefined;
      },
      onWritten: () => this.#announce(),
    });
    this.#retention = new Retention(deps.store, deps.logger, metrics);
    this.#commits = metrics.counter('holdfast_log_commits_total', 'Group commits that reached the disk.');
    this.#commitMs = metrics.counter('holdfast_log_commit_milliseconds_total', 'Time spent in commits.');
    this.#records = metrics.counter('holdfast_log_records_total', 'Records that reached the disk.');
    metrics.gauge('holdfast_log_bytes', 'Bytes of records kept.', () => this.#segments.bytes);
    metrics.gauge('holdfast_log_messages', 'Records kept.', () => this.#segments.records);
  }

  /** Id of the oldest record kept; `next` where there is none. */
  get head(): bigint {
    return this.#segments.head ?? this.#committed;
  }

  /** Id behind the last committed record. */
  get next(): bigint {
    return this.#committed;
  }

  get size(): { readonly records: number; readonly bytes: number } {
    return { records: this.#segments.records, bytes: this.#segments.bytes };
  }

  async start(): Promise<void> {
    await this.#open();
    this.#keeper = this.#deps.clock.every('log upkeep', housekeeping, () => this.#keep());
  }

  /** Commits what waits, then closes. */
  async stop(): Promise<void> {
    this.#keeper?.cancel();
    this.#timer?.cancel();
    this.#timer = undefined;
    while (this.#state === 'open' && (this.#committing !== undefined || this.#pending.count > 0)) {
      this.#committing ??= this.#commit();
      await this.#committing;
    }
    await this.#upkeep;
    if (this.#state === 'open') {
      const writes = [...this.#cursors.takeWrites(), ...this.events.take(this.#gathering)];
      if (writes.length > 0) await this.#deps.store.write(writes, false).catch(() => undefined);
    }
    this.#state = 'closed';
    this.events.close();
    this.#pending.fail(new HoldfastError('unavailable', 'the gateway is stopping'));
    await this.#deps.store.close();
  }

  /**
   * Appends a message; `done` is called once it is on disk.
   * @returns its id.
   * @throws HoldfastError `unavailable`, `store_failed`, `store_full` or `overloaded`; `done` is not called then.
   */
  append(message: Message, done: Committed, change?: StateChange): bigint {
    this.checkRoom(message.payload.length);
    const id = this.#gathering + BigInt(this.#pending.count);
    this.#pending.add(message, this.#deps.clock.monotonic(), done);
    if (change !== undefined) this.#pending.addChange(writeOfChange(change, message, id, this.#deps));
    if (this.#committing === undefined && this.#timer === undefined) this.#schedule();
    return id;
  }

  /** @throws HoldfastError as `append` would for payloads of `bytes`: appended in one turn they go into one commit. */
  checkRoom(bytes: number): void {
    if (this.#state !== 'open') {
      throw this.#state === 'failed'
        ? new HoldfastError('store_failed', 'the message store cannot be written at the moment')
        : new HoldfastError('unavailable', 'the message store is not open');
    }
    if (this.#pending.bytes + bytes > this.#deps.options.maxPendingBytes) {
      throw new HoldfastError('overloaded', 'too much waits for the disk');
    }
    if (this.#rejecting) throw new HoldfastError('store_full', 'an upstream queue is full and set to reject');
  }

  /**
   * Messages with ids from `from` on, committed ones only. `next === from` and no messages: nothing more now.
   * What was committed lately comes from memory at once, the rest from the disk.
   */
  read(from: bigint, max: { readonly records: number; readonly bytes: number }): LogPage | Promise<LogPage> {
    if (from >= this.#committed) return { messages: [], next: from, lost: 0 };
    const page = this.#recent.read(from, max);
    if (page !== undefined) return { ...page, lost: 0 };
    if (this.#state !== 'open') return { messages: [], next: from, lost: 0 };
    return this.#disk.read(from, max);
  }

  #announce(): void {
    for (const listener of this.#listeners) listener();
  }

  /** The messages kept beside the log under keys that start with `prefix`. */
  kept(prefix: string): AsyncIterable<readonly [string, StoredMessage]> {
    return readKept(this.#deps.store, prefix, this.#deps.logger);
  }

  cursor(name: string): bigint | undefined {
    return this.#cursors.get(name);
  }

  /** Remembers a reader's place: written with the next commit or within a second, unsynced. */
  moveCursor(name: string, to: bigint): void {
    this.#cursors.move(name, to);
  }

  /** Declares that what lies at or above the cursor `name` is a queue: kept until read, within these bounds. */
  holdFor(name: string, options: QueueOptions): void {
    this.#cursors.holdFor(name, options, this.#committed);
  }

  /** Drops cursors that nobody declared in this run: an upstream that is no longer configured holds nothing back. */
  dropOtherCursors(): void {
    this.#cursors.dropOthers();
  }

  /** What waits for the reader `name`. `oldestAge` in milliseconds, to the segment; absent where no clock can tell. */
  queued(name: string): { readonly messages: number; readonly bytes: number; readonly oldestAge?: number } {
    const { records, bytes, oldest } = this.#segments.after(this.#cursors.get(name) ?? this.#committed);
    if (oldest === undefined || this.#deps.quality() !== 'synced') return { messages: records, bytes };
    return { messages: records, bytes, oldestAge: Math.max(0, this.#deps.clock.wall() - oldest) };
  }

  /** Calls `listener` after each commit; returns what ends that. */
  onCommit(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Milliseconds since the oldest record that still waits for its commit came in; 0 where none waits. */
  get commitStalledFor(): number {
    return this.#committing === undefined ? 0 : this.#deps.clock.monotonic() - this.#lastCommit;
  }

  /** Whether appends are taken; false while the store failed and is being opened anew. */
  get writable(): boolean {
    return this.#state === 'open';
  }

  /** Milliseconds since `message` was accepted; undefined where the clocks cannot tell. */
  age(message: StoredMessage): number | undefined {
    const { clock, quality } = this.#deps;
    if (bootOf(message.id) >= this.#firstBoot) return clock.monotonic() - message.monotonic;
    if (message.timeQuality !== 'synced' || quality() !== 'synced') return undefined;
    return Math.max(0, clock.wall() - message.time);
  }

  async #open(): Promise<void> {
    const { logger, clock } = this.#deps;
    const begun = clock.monotonic();
    const { segments, cursors, boot, how } = await openLog(this.#deps);
    await this.events.open(boot);
    this.#segments = segments;
    this.#cursors.restore(cursors);
    if (this.#firstBoot === 0) this.#firstBoot = boot;
    this.#gathering = makeMessageId(boot, 0);
    this.#committed = this.#gathering;
    this.#recent.clear();
    this.#state = 'open';
    const { records, bytes } = segments;
    const took = Math.round(clock.monotonic() - begun);
    logger.info({ records, bytes, boot, how, ms: took }, 'the log is open');
  }

  #schedule(): void {
    const { clock, options } = this.#deps;
    const wait = this.#lastCommit + options.commitGap - clock.monotonic();
    const run = () => {
      this.#timer = undefined;
      this.#committing ??= this.#commit();
    };
    if (wait > 0) {
      this.#timer = clock.after('log commit', wait, run);
      return;
    }
    // two turns of the event loop: what the acknowledgements of the last commit call forth comes along with this one
    this.#timer = clock.soon('log commit', () => {
      this.#timer = clock.soon('log commit', run);
    });
  }

  async #commit(): Promise<void> {
    const { store, clock, quality } = this.#deps;
    const first = this.#gathering;
    const begun = clock.monotonic();
    const wall = clock.wall();
    const { chunk, changes: writes, waiting } = this.#pending.take(first, begun, wall, quality());
    const { header, bytes } = chunk;
    this.#gathering = first + BigInt(header.count);
    this.#lastCommit = begun;
    writes.push(
      { type: 'put', key: idKey(chunkPrefix, first), value: bytes },
      ...this.events.take(this.#gathering),
      ...this.#cursors.takeWrites(),
    );
    const closed = this.#segments.add({
      first,
      count: header.count,
      bytes: bytes.length,
      wall: header.wall,
      synced: header.quality === 'synced',
    });
    if (closed !== undefined) writes.push(segmentWrite(closed));
    let error: HoldfastError | undefined;
    try {
      await store.write(writes, true);
    } catch (thrown) {
      error = new HoldfastError('store_failed', `the message store cannot be written: ${reasonOf(thrown)}`, {
        cause: thrown,
      });
    }
    this.#committing = undefined;
    if (error === undefined) {
      this.#commits.add();
      this.#commitMs.add(clock.monotonic() - begun);
      this.#records.add(header.count);
      this.#recent.add(chunk);
      this.#committed = this.#gathering;
    } else {
      this.#failed(error);
    }
    for (const done of waiting) done(error);
    if (this.#state === 'open' && this.#pending.count > 0 && this.#timer === undefined) this.#schedule();
    if (error === undefined) this.#announce();
  }

  /** LevelDB stays in error until it is opened anew: so do that, under a new boot number, until it works. */
  #failed(error: HoldfastError): void {
    const { logger, health, clock } = this.#deps;
    this.#state = 'failed';
    health.raise(failing, error.message);
    logger.error({ reason: error.message }, 'a commit failed; the store is opened anew');
    this.#timer?.cancel();
    this.#pending.fail(error);
    this.#timer = clock.after('log reopen', reopenDelay, () => {
      this.#timer = undefined;
      void this.#reopen();
    });
  }

  async #reopen(): Promise<void> {
    const { store, health, logger } = this.#deps;
    if (this.#state !== 'failed') return;
    try {
      await this.#upkeep;
      await store.close();
      await this.#open();
      health.clear(failing);
      this.#announce();
    } catch (thrown) {
      this.#failed(new HoldfastError('store_failed', reasonOf(thrown), { cause: thrown }));
      logger.debug({ reason: reasonOf(thrown) }, 'the store does not open yet');
    }
  }

  #keep(): void {
    if (this.#state !== 'open' || this.#upkeep !== undefined) return;
    this.#upkeep = this.#tidy()
      .catch((thrown: unknown) => this.#deps.logger.warn({ reason: reasonOf(thrown) }, 'the log was not tidied'))
      .finally(() => {
        this.#upkeep = undefined;
      });
  }

  async #tidy(): Promise<void> {
    const { store, clock, quality, options } = this.#deps;
    if (this.#cursors.dirty) await store.write(this.#cursors.takeWrites(), false);
    const queues = this.#cursors.bounds();
    this.#rejecting = queues.some((queue) => !queue.dropsOldest && this.#segments.exceeds(queue));
    const now = { wall: clock.wall(), synced: quality() === 'synced' };
    const gone = this.#segments.trim(options.history, queues, now);
    await this.#retention.delete(gone);
    const last = gone.at(-1);
    if (last !== undefined) this.events.messagesDeleted(last.end);
    await this.events.trim();
    await this.#retention.reclaim(this.head);
  }
}
