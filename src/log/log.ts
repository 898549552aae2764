import { HoldfastError, reasonOf, type Service, type Timer } from '../base/index.ts';
import { bootOf, type Message, makeMessageId, type Span, type StoredMessage } from '../domain/index.ts';
import { type Chunk, type Correct, qos0In } from './chunk.ts';
import { ClockShifts } from './clock-shifts.ts';
import { Committer } from './committer.ts';
import { Cursors, type QueueOptions } from './cursors.ts';
import type { Deliverer } from './delivery.ts';
import { DiskReader } from './disk-reader.ts';
import { isNoRoom } from './disk-space.ts';
import { Events } from './events.ts';
import { LogFigures } from './figures.ts';
import type { Committed } from './gathering.ts';
import { readKept, type StateChange } from './kept.ts';
import { isFinal, openLog } from './opening.ts';
import { damaged, failing, type LogDeps } from './options.ts';
import type { LogPage } from './reader.ts';
import { RecentChunks } from './recent.ts';
import { segmentWrites } from './recovery.ts';
import { ReopenPace } from './reopen-pace.ts';
import { Retention } from './retention.ts';
import { Segments } from './segments.ts';
import type { Write } from './store.ts';
import { Upkeep } from './upkeep.ts';

const second = 1_000;

/** The append-only log. See this folder's `index.ts` for its design. */
export class Log implements Service {
  readonly name = 'log';
  readonly events: Events;
  readonly #deps: LogDeps;
  readonly #recent: RecentChunks;
  readonly #shifts = new ClockShifts();
  #segments = new Segments();
  readonly #committer: Committer;
  #committed = 0n;
  /** Id behind the last record that a power cut leaves, of this run. */
  #fsynced = 0n;
  #state: 'closed' | 'open' | 'failed' = 'closed';
  #reopening: Timer | undefined;
  #keeper: Timer | undefined;
  /** Why the store failed last. */
  #failure: HoldfastError | undefined;
  readonly #reopenPace: ReopenPace;
  /** The boot number this process began with; a store opened anew gets a higher one under the same monotonic clock. */
  #firstBoot = 0;
  readonly #cursors = new Cursors();
  readonly #retention: Retention;
  readonly #upkeep: Upkeep;
  readonly #disk: DiskReader;
  readonly #listeners = new Set<() => void>();

  constructor(deps: LogDeps) {
    this.#deps = deps;
    this.#reopenPace = new ReopenPace(deps.clock);
    const correct: Correct = (header) => this.#shifts.correct(header);
    this.#recent = new RecentChunks(deps.options.recentBytes, correct);
    this.#disk = new DiskReader({
      store: deps.store,
      clock: deps.clock,
      logger: deps.logger,
      segments: () => this.#segments,
      until: () => this.#committed,
      correct,
      onDamage: (detail) => deps.health.raise(damaged, detail),
      onAgain: () => this.#announce(),
    });
    this.events = new Events({
      ...deps,
      history: deps.options.history,
      place: () => (this.#committer.idle ? this.#committer.next : undefined),
      committed: () => this.#committed,
      correct,
      room: () => deps.space.level !== 'full',
      onWritten: () => this.#announce(),
    });
    this.#retention = new Retention(deps, deps.options.history);
    this.#upkeep = new Upkeep({
      ...deps,
      segments: () => this.#segments,
      head: () => this.head,
      written: () => this.#committed,
      fsynced: () => this.#fsynced,
      cursors: this.#cursors,
      shifts: this.#shifts,
      events: this.events,
      retention: this.#retention,
      isOpen: () => this.writable,
      onFailed: (error) => this.#failed(error),
    });
    this.#committer = new Committer({
      ...deps,
      figures: new LogFigures(deps.metrics, () => this.#segments),
      along: (chunk, accepted, sync) => this.#along(chunk, accepted, sync),
      onWritten: (chunk, sync) => {
        this.#recent.add(chunk);
        this.#committed = chunk.header.first + BigInt(chunk.header.count);
        if (sync) this.#fsynced = this.#committed;
      },
      onDone: () => this.#announce(),
      onFailed: (error) => this.#failed(error),
      room: () => (this.#retention.behind ? this.#upkeep.underWay : undefined),
    });
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
    await this.#begin();
    this.#keeper = this.#deps.clock.every('log upkeep', second, () => this.#upkeep.run());
  }

  /** Commits what waits, then closes. */
  async stop(): Promise<void> {
    for (const timer of [this.#keeper, this.#reopening]) timer?.cancel();
    await this.#committer.stop();
    await this.#upkeep.over();
    if (this.#state === 'open') {
      const writes = [...this.#cursors.takeWrites(true), ...this.events.take(this.#committer.next)];
      await this.#deps.store.write(writes, true).catch(() => undefined);
      await this.#deps.bootFile.writeEnd?.(this.#committed).catch(() => undefined);
    }
    this.#state = 'closed';
    this.events.close();
    this.#committer.fail(new HoldfastError('unavailable', 'the gateway is stopping'));
    await this.#deps.store.close();
  }

  /**
   * Appends a message; `done` is called once it is on disk, or acknowledged by every upstream that wants it.
   * @returns its id.
   * @throws HoldfastError `unavailable`, `store_failed`, `store_full` or `overloaded`; `done` is not called then.
   */
  append(message: Message, done: Committed, change?: StateChange): bigint {
    this.checkRoom(message.payload.length);
    return this.#committer.add(message, done, change);
  }

  /** @throws HoldfastError as `append` would for payloads of `bytes`: appended in one turn they go into one commit. */
  checkRoom(bytes: number): void {
    if (this.#state !== 'open') {
      throw this.#state === 'failed'
        ? new HoldfastError('store_failed', 'the message store cannot be written at the moment')
        : new HoldfastError('unavailable', 'the message store is not open');
    }
    if (this.#committer.bytes + bytes > this.#deps.options.maxPendingBytes) {
      throw new HoldfastError('overloaded', 'too much waits for the disk');
    }
    if (this.#deps.space.level === 'full') throw new HoldfastError('store_full', 'the disk is full');
    if (this.#upkeep.rejecting) throw new HoldfastError('store_full', 'an upstream queue is full and set to reject');
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

  /** Messages from `from` on that were accepted and are not on the disk yet: for who sends them sooner. */
  ahead(from: bigint): LogPage {
    return this.#committer.ahead(from);
  }

  /** Takes in somebody whose acknowledgement is as good as the disk's; returns what ends that. */
  deliverThrough(deliverer: Deliverer): () => void {
    return this.#committer.deliverThrough(deliverer);
  }

  /** One who took the message `now` has it acknowledged. Who waits for it is told once all have. */
  delivered(id: bigint): void {
    this.#committer.delivered(id);
  }

  /** The message must be on the disk, whoever else has it. */
  require(id: bigint): void {
    this.#committer.require(id);
  }

  #announce(): void {
    for (const listener of this.#listeners) listener();
  }

  /** The messages kept beside the log under keys that start with `prefix`. */
  kept(prefix: string): AsyncIterable<readonly [string, StoredMessage]> {
    return readKept(this.#deps.store, prefix, this.#deps.logger, (header) => this.#shifts.correct(header));
  }

  cursor(name: string): bigint | undefined {
    return this.#cursors.get(name);
  }

  /** What the reader `name` has got beyond its cursor. */
  done(name: string): readonly Span[] {
    return this.#cursors.done(name);
  }

  /** Remembers a reader's place: written with the next commit, or soon where it has got much, or within a second, unsynced. */
  moveCursor(name: string, to: bigint, done?: readonly Span[]): void {
    this.#cursors.move(name, to, done);
    this.#upkeep.moved(name);
  }

  /** Messages of QoS 0 below this id are given up by the queue `name`, which has met a bound. */
  shedBelow(name: string): bigint {
    return this.#cursors.shedBelow(name);
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
    const { oldest, ...waiting } = this.#cursors.waiting(name, this.#segments, this.#committed);
    if (oldest === undefined || this.#deps.quality() !== 'synced') return waiting;
    return { ...waiting, oldestAge: Math.max(0, this.#deps.clock.wall() - oldest) };
  }

  /** Calls `listener` after each commit; returns what ends that. */
  onCommit(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Milliseconds for which the write under way has taken; 0 where there is none. */
  get commitStalledFor(): number {
    return this.#committer.stalledFor;
  }

  /** Whether appends are taken; false while the store failed and is being opened anew. */
  get writable(): boolean {
    return this.#state === 'open';
  }

  /** Milliseconds by which times of that boot were wrong before its clock was set; 0 where that is not known. */
  shiftOf(boot: number): number {
    return this.#shifts.of(boot) ?? 0;
  }

  /** Milliseconds since `message` was accepted; undefined where the clocks cannot tell. */
  age(message: StoredMessage): number | undefined {
    const { clock, quality } = this.#deps;
    if (bootOf(message.id) >= this.#firstBoot) return clock.monotonic() - message.monotonic;
    if (message.timeQuality !== 'synced' || quality() !== 'synced') return undefined;
    return Math.max(0, clock.wall() - message.time);
  }

  /** Opens, where there is no room with what is kept for that, or goes on trying: a gateway in the field has to start. */
  async #begin(): Promise<void> {
    await this.#deps.space.look();
    try {
      await this.#open();
    } catch (thrown) {
      if (isFinal(thrown)) throw thrown;
      this.#failed(new HoldfastError('store_failed', reasonOf(thrown), { cause: thrown }));
      if (isNoRoom(thrown)) await this.#reopen();
    }
  }

  async #open(): Promise<void> {
    const { logger, clock } = this.#deps;
    const begun = clock.monotonic();
    const found = await openLog(this.#deps, this.#failure, this.#committed);
    const { segments, boot, how } = found;
    this.#shifts.begin(found.shifts, boot);
    this.#shifts.look(clock.wall(), clock.monotonic(), this.#deps.quality());
    await this.events.open(boot);
    this.#segments = segments;
    this.#cursors.restore(found.cursors, found.fallback);
    if (this.#firstBoot === 0) this.#firstBoot = boot;
    this.#committed = makeMessageId(boot, 0);
    this.#fsynced = this.#committed;
    this.#committer.start(this.#committed);
    this.#recent.clear();
    this.#state = 'open';
    this.#reopenPace.opened();
    logger.info({ ...this.size, boot, how, ms: Math.round(clock.monotonic() - begun) }, 'the log is open');
  }

  /** What goes into the batch of a chunk: events, cursors, and the segment that it closes. */
  #along({ header, bytes }: Chunk, accepted: bigint, sync: boolean): Write[] {
    const { first, count, wall, quality } = header;
    const qos0 = qos0In(bytes, count);
    const closed = this.#segments.add({ first, count, bytes: bytes.length, wall, synced: quality === 'synced', qos0 });
    this.#retention.written(bytes.length);
    if (this.#deps.space.spend(bytes.length) || closed !== undefined) this.#upkeep.run();
    return [...this.events.take(accepted), ...this.#cursors.takeWrites(sync), ...segmentWrites(closed)];
  }

  /** LevelDB stays in error until it is opened anew: so do that, under a new boot number, until it works. */
  #failed(error: HoldfastError): void {
    const { logger, health, clock } = this.#deps;
    const wait = this.#reopenPace.failed();
    this.#state = 'failed';
    this.#failure = error;
    if (health.raise(failing, error.message))
      logger.error({ reason: error.message, wait }, 'the store failed and is opened anew');
    this.#committer.fail(error);
    this.#reopening?.cancel();
    this.#reopening = clock.after('log reopen', wait, () => void this.#reopen());
  }

  async #reopen(): Promise<void> {
    const { store, health, space } = this.#deps;
    if (this.#state !== 'failed') return;
    try {
      if (isNoRoom(this.#failure)) await space.exhausted();
      await this.#upkeep.over();
      await store.close();
      await this.#open();
      await space.look();
      health.clear(failing);
      this.#announce();
    } catch (thrown) {
      this.#failed(new HoldfastError('store_failed', reasonOf(thrown), { cause: thrown }));
    }
  }
}
