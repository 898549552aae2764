import { HoldfastError, reasonOf, type Timer } from '../base/index.ts';
import { formatMessageId } from '../domain/index.ts';
import { isDamage } from '../log/index.ts';
import { bounded, isOver, shed, takenBy } from './bound.ts';
import { flush, progressWrite } from './flush.ts';
import { Follower, isBefore } from './follower.ts';
import { Gate } from './gate.ts';
import { everything } from './keys.ts';
import { openIndex } from './opening.ts';
import { damagedIndex, failingIndex, type IndexDeps, type IndexOptions, rebuilding } from './options.ts';
import { beginning, type Progress } from './progress.ts';
import { RecentPostings } from './recent.ts';
import { Sweeper } from './sweeper.ts';

const retryDelay = 1_000;
const reopenDelay = 5_000;
const rebuildGap = 60_000;
const sweepGap = 20;
/** Milliseconds behind the log before that is said. */
const patience = 1_000;
const maxBatches = 16;

type Job = 'open' | 'rebuild' | 'flush' | 'follow' | 'sweep';

/**
 * Keeps the index: follows the log, writes what gathered, sweeps, and begins again where something broke. All of that is
 * done by one loop, one job at a time in the order of their urgency; queries go on beside it.
 */
export class Keeper {
  readonly gate: Gate = new Gate();
  readonly recent: RecentPostings = new RecentPostings();
  readonly #deps: IndexDeps;
  readonly #options: IndexOptions;
  readonly #follower: Follower;
  readonly #sweeper: Sweeper;
  readonly #jobs = new Set<Job>();
  readonly #timers = new Map<string, Timer>();
  #progress: Progress;
  #readable = false;
  /** The store failed, and nothing is written before it was opened anew. */
  #failed = false;
  #stopping = false;
  #running: Promise<void> | undefined;
  #unsubscribe: (() => void) | undefined;
  /** Since when it has been on its way to the end of the log. */
  #catchingUpSince: number | undefined;
  #rebuiltAt = Number.NEGATIVE_INFINITY;
  #bytes = 0;
  /** It takes more than it may, and nothing is added before room was made. */
  #pressed = false;
  readonly #rebuilds;
  readonly #damages;

  constructor(deps: IndexDeps) {
    const { store, log, clock, metrics } = deps;
    this.#deps = deps;
    this.#options = bounded(deps.options);
    this.#progress = beginning(0n, { position: 0n, offset: 0 });
    this.#follower = new Follower(log, clock, this.recent);
    this.#sweeper = new Sweeper({ store, gate: this.gate, log, clock, options: this.#options });
    this.#rebuilds = metrics.counter('holdfast_index_rebuilds_total', 'Times the index was built anew from the log.');
    this.#damages = metrics.counter('holdfast_index_damages_total', 'Parts of the index that could not be read.');
    metrics.gauge('holdfast_index_lag_messages', 'Messages in the log that the index does not have yet.', () =>
      this.#unsubscribe === undefined ? 0 : this.#follower.lag,
    );
    metrics.gauge('holdfast_index_bytes', 'Bytes of the index on disk, about.', () => this.#bytes);
  }

  /** Whether the store can be read. */
  get readable(): boolean {
    return this.#readable;
  }

  /** Bytes that it takes on the disk at most, as it is now. */
  get taken(): number {
    return takenBy(this.#bytes, this.#options);
  }

  /** What is about messages below was given up, for want of room. */
  get floor(): bigint {
    return this.#progress.floor;
  }

  /** Which block numbers count. */
  get numbers(): { readonly end: number; readonly void: Progress['void'] } {
    return { end: this.#progress.block, void: this.#progress.void };
  }

  /**
   * Opens the store; what it does not have is read from the log later.
   * @throws HoldfastError `start_failed` where another process has the store open.
   */
  async start(): Promise<void> {
    try {
      await this.#open();
    } catch (thrown) {
      if (thrown instanceof HoldfastError) throw thrown;
      this.#fail(thrown);
    }
    this.#unsubscribe = this.#deps.log.onCommit(() => this.#after('follow', this.#options.followDelay));
    this.#timers.set(
      'upkeep',
      this.#deps.clock.every('index upkeep', this.#options.flushInterval, () => {
        this.#want('flush');
        if (this.#sweeper.due(this.#progress)) this.#want('sweep');
      }),
    );
    this.#want('follow');
  }

  /** Writes what gathered, and closes. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
    await this.#running;
    await this.#sweeper.settled();
    if (this.#readable && !this.#failed) {
      await this.#flush().catch((thrown: unknown) =>
        this.#deps.logger.warn({ reason: reasonOf(thrown) }, 'the index was not written; the log has it all'),
      );
    }
    await this.gate.exclusive(() => this.#close());
  }

  /** Something could not be read: it is left out until the index was built anew. */
  damaged(what: string): void {
    this.#damages.add();
    this.#deps.health.raise(damagedIndex, what);
    if (this.#jobs.has('rebuild') || this.#timers.has('rebuild')) return;
    this.#deps.logger.error({ what }, 'a part of the index could not be read; it is built anew');
    this.#after('rebuild', Math.max(0, this.#rebuiltAt + rebuildGap - this.#deps.clock.monotonic()));
  }

  #after(job: Job, ms: number): void {
    if (this.#timers.has(job) || this.#stopping) return;
    const timer = this.#deps.clock.after(`index ${job}`, ms, () => {
      this.#timers.delete(job);
      this.#want(job);
    });
    this.#timers.set(job, timer);
  }

  #want(job: Job): void {
    this.#jobs.add(job);
    this.#begin();
  }

  #begin(): void {
    if (this.#running !== undefined || this.#next() === undefined) return;
    this.#running = this.#work().finally(() => {
      this.#running = undefined;
      this.#begin();
    });
  }

  #next(): Job | undefined {
    if (this.#stopping) return undefined;
    if (this.#jobs.has('open')) return 'open';
    if (this.#failed) return undefined;
    if (this.#pressed && this.#jobs.has('sweep')) return 'sweep';
    return (['rebuild', 'flush', 'follow', 'sweep'] as const).find((job) => this.#jobs.has(job));
  }

  async #work(): Promise<void> {
    for (let job = this.#next(); job !== undefined; job = this.#next()) {
      this.#jobs.delete(job);
      try {
        await this.#do(job);
      } catch (thrown) {
        if (job === 'rebuild') this.#jobs.add('rebuild');
        this.#fail(thrown);
      }
    }
  }

  #do(job: Job): Promise<void> {
    switch (job) {
      case 'open':
        return this.#reopen();
      case 'rebuild':
        return this.#rebuild();
      case 'flush':
        return this.#flush();
      case 'follow':
        return this.#follow();
      case 'sweep':
        return this.#sweep();
    }
  }

  async #follow(): Promise<void> {
    const full = () => this.recent.count >= this.#options.flushPostings || this.recent.batches.length > maxBatches;
    const enough = () => this.#stopping || this.#jobs.has('rebuild') || full();
    let result: 'done' | 'enough' | 'stalled';
    try {
      result = await this.#follower.catchUp(enough, () => this.#judge());
    } catch (thrown) {
      this.#deps.logger.warn({ reason: reasonOf(thrown) }, 'the index could not read the log');
      result = 'stalled';
    }
    if (full()) this.#jobs.add('flush');
    if (result === 'enough') this.#jobs.add('follow');
    if (result === 'stalled') this.#after('follow', retryDelay);
    if (result === 'done') this.#caughtUp();
    else this.#judge();
  }

  #judge(): void {
    const { clock, health } = this.#deps;
    if (this.#catchingUpSince === undefined || clock.monotonic() - this.#catchingUpSince < patience) return;
    health.raise(rebuilding, `${this.#follower.lag} messages to go`);
  }

  #caughtUp(): void {
    if (this.#catchingUpSince === undefined) return;
    const { clock, health, logger } = this.#deps;
    const ms = Math.round(clock.monotonic() - this.#catchingUpSince);
    this.#catchingUpSince = undefined;
    health.clear(rebuilding);
    if (!this.#jobs.has('rebuild') && !this.#timers.has('rebuild')) health.clear(damagedIndex);
    logger.info({ ms }, 'the index is up to date');
  }

  async #flush(): Promise<void> {
    const { store, clock, log } = this.#deps;
    const { place } = this.#follower;
    const moved = place.message !== this.#progress.message || isBefore(this.#progress.event, place.event);
    if (this.recent.count === 0 && !moved) return;
    const deps = { store, clock, atOnce: this.#options.flushWrites };
    this.#progress = await flush(deps, this.recent, this.#progress, place, log.head);
    this.recent.clear();
    await this.#weigh();
    if (this.#sweeper.due(this.#progress)) this.#jobs.add('sweep');
  }

  /** Looks what it takes, and has its oldest postings go where that is too much. */
  async #weigh(): Promise<void> {
    const { store, logger } = this.#deps;
    this.#bytes = await store.size(everything).catch(() => this.#bytes);
    const less = isOver(this.#bytes, this.#options) ? shed(this.#progress) : undefined;
    this.#pressed = less !== undefined;
    if (less === undefined) return;
    this.#progress = less;
    // before the first of them is deleted, so that no answer has some of them and not others
    await store.write([progressWrite(less)], false);
    this.#jobs.add('sweep');
    logger.info({ bytes: this.#bytes, floor: formatMessageId(less.floor) }, 'the index is full; its oldest entries go');
  }

  async #sweep(): Promise<void> {
    if (!this.#sweeper.due(this.#progress)) return;
    const after = await this.#sweeper.step(this.#progress);
    if (after === 'damaged') {
      this.#pressed = false;
      this.damaged('blocks, in a sweep');
    } else if (after === undefined) {
      if (this.#pressed) this.#jobs.add('sweep');
      else this.#after('sweep', sweepGap);
    } else {
      this.#progress = after;
      if (!this.#pressed) return;
      await this.#sweeper.settled();
      await this.#weigh();
    }
  }

  async #rebuild(): Promise<void> {
    const { store, logger, discard } = this.#deps;
    this.#rebuilds.add();
    this.#rebuiltAt = this.#deps.clock.monotonic();
    logger.warn({}, 'the index is built anew from the log');
    await this.#sweeper.reset();
    await this.gate.exclusive(async () => {
      if (discard === undefined) {
        await store.clear(everything);
      } else {
        await this.#close();
        await discard();
        await store.open();
        this.#readable = true;
      }
      this.#goOn(beginning(this.#deps.log.head, this.#deps.log.events.head));
      await store.write([progressWrite(this.#progress)], false);
    });
    this.#jobs.add('follow');
  }

  /** LevelDB stays in error until it is opened anew. Until then it can be read. */
  #fail(thrown: unknown): void {
    const { health, logger } = this.#deps;
    this.#failed = true;
    // what is damaged fails again, and the log has it all
    if (isDamage(reasonOf(thrown))) this.#jobs.add('rebuild');
    if (health.raise(failingIndex, reasonOf(thrown)))
      logger.error({ reason: reasonOf(thrown) }, 'the index failed; its store is opened anew');
    this.#after('open', reopenDelay);
  }

  async #reopen(): Promise<void> {
    await this.#sweeper.reset();
    await this.gate.exclusive(async () => {
      await this.#close();
      await this.#open();
    });
    if (!this.#jobs.has('rebuild')) await this.#deps.store.write([progressWrite(this.#progress)], false);
    this.#failed = false;
    this.#deps.health.clear(failingIndex);
    this.#jobs.add('follow');
  }

  async #open(): Promise<void> {
    const { log, logger } = this.#deps;
    const { opening, found, reason } = await openIndex(this.#deps);
    logger.info({ how: opening.how, rebuild: reason }, 'the index is open');
    this.#goOn(found ?? beginning(log.head, log.events.head));
    this.#readable = true;
    this.#bytes = await this.#deps.store.size(everything).catch(() => this.#bytes);
    if (reason === undefined) return;
    if (opening.how === 'repaired' || opening.how === 'moved_aside') this.#damages.add();
    this.#jobs.add('rebuild');
  }

  #goOn(progress: Progress): void {
    this.#progress = progress;
    this.#pressed = false;
    this.recent.clear();
    this.#follower.moveTo(progress);
    this.#catchingUpSince = this.#deps.clock.monotonic();
  }

  async #close(): Promise<void> {
    this.#readable = false;
    await this.#deps.store.close();
  }
}
