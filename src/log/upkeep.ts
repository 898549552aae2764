import { type Clock, HoldfastError, reasonOf } from '../base/index.ts';
import type { ClockQuality } from '../domain/index.ts';
import type { ClockShifts } from './clock-shifts.ts';
import type { Cursors } from './cursors.ts';
import type { Events } from './events.ts';
import type { LogDeps } from './options.ts';
import { type Retention, shedding } from './retention.ts';
import type { Segments } from './segments.ts';

export interface UpkeepDeps extends Pick<LogDeps, 'store' | 'space' | 'elsewhere'> {
  readonly clock: Clock;
  readonly quality: () => ClockQuality;
  readonly segments: () => Segments;
  readonly head: () => bigint;
  /** The ids behind the last record that a killed process leaves, and a power cut. */
  readonly written: () => bigint;
  readonly fsynced: () => bigint;
  readonly cursors: Cursors;
  readonly shifts: ClockShifts;
  readonly events: Events;
  readonly retention: Retention;
  readonly isOpen: () => boolean;
  readonly onFailed: (error: HoldfastError) => void;
}

/** So many records may be sent again after a power cut before cursors are worth an fsync. */
const maxExposed = 1_000;

/** So many may be sent again after the process was killed before they are worth a write of their own. */
const maxUnwritten = 32;

/** What is done beside the commits: once a second, where much has come in, and where a reader gets on fast. */
export class Upkeep {
  readonly #deps: UpkeepDeps;
  #underWay: Promise<void> | undefined;
  #noting: Promise<void> | undefined;
  #rejecting = false;

  constructor(deps: UpkeepDeps) {
    this.#deps = deps;
  }

  /** Whether a queue that rejects is full. */
  get rejecting(): boolean {
    return this.#rejecting;
  }

  /** Resolved once it is over; undefined where none is under way. */
  get underWay(): Promise<void> | undefined {
    return this.#underWay;
  }

  /** Resolved once nothing is under way. */
  async over(): Promise<void> {
    await this.#underWay;
    await this.#noting;
  }

  run(): void {
    if (!this.#deps.isOpen()) return;
    this.#underWay ??= upkeep(this.#deps)
      .then((rejecting) => {
        this.#rejecting = rejecting;
      })
      .catch((thrown: unknown) => this.#failed(thrown))
      .finally(() => {
        this.#underWay = undefined;
      });
  }

  /** A reader's place was moved. It is written once it has got much that no commit took along, and fsynced now and then. */
  moved(name: string): void {
    const { cursors, store, written, isOpen } = this.#deps;
    if (this.#noting !== undefined || cursors.unwritten(name, written()) < maxUnwritten || !isOpen()) return;
    const sync = isExposed(this.#deps);
    this.#noting = store
      .write(cursors.takeWrites(sync), sync)
      .catch((thrown: unknown) => this.#failed(thrown))
      .finally(() => {
        this.#noting = undefined;
      });
  }

  #failed(thrown: unknown): void {
    if (!this.#deps.isOpen()) return;
    // LevelDB stays in error, and where nothing new is taken no commit would find that out
    const reason = `the message store cannot be tidied: ${reasonOf(thrown)}`;
    this.#deps.onFailed(new HoldfastError('store_failed', reason, { cause: thrown }));
  }
}

/**
 * What is done once a second: cursors that no commit took along are written, what exceeds a bound is deleted, and its
 * space given back.
 * @returns whether a queue that rejects is full.
 * @throws what the store throws.
 */
async function upkeep(deps: UpkeepDeps): Promise<boolean> {
  const { store, clock, quality, space, cursors, shifts, events, retention } = deps;
  retention.begun(deps.segments().bytes);
  await space.watch();
  shifts.look(clock.wall(), clock.monotonic(), quality());
  const segments = deps.segments();
  const sync = isExposed(deps);
  const writes = [...cursors.takeWrites(sync), ...shifts.takeWrites(deps.head())];
  if (writes.length > 0) await store.write(writes, sync);
  const queues = cursors.bounds(segments);
  const full = new Set(queues.filter((queue) => segments.exceeds(queue)).map(({ name }) => name));
  const rejecting = queues.some(({ name, dropsOldest }) => !dropsOldest && full.has(name));
  const pressed = space.level !== 'fine';
  const history = retention.bounds(events.bytes, deps.elsewhere?.() ?? 0);
  const bounds = pressed ? shedding(history, segments.bytes) : history;
  const gone = segments.trim(bounds, queues, { wall: clock.wall(), synced: quality() === 'synced' });
  cursors.deleted(gone, queues, full);
  await retention.delete(gone);
  const last = gone.at(-1);
  if (last !== undefined) events.messagesDeleted(last.end);
  await events.trim();
  await retention.reclaim(deps.head(), segments.bytes + events.bytes, pressed);
  return rejecting;
}

/** Whether a power cut would have too much sent again. */
function isExposed({ cursors, segments, fsynced }: UpkeepDeps): boolean {
  return cursors.exposed(segments(), fsynced()) > maxExposed;
}
