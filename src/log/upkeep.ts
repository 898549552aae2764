import type { Clock } from '../base/index.ts';
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
  /** The id behind the last record that a power cut leaves. */
  readonly fsynced: () => bigint;
  readonly cursors: Cursors;
  readonly shifts: ClockShifts;
  readonly events: Events;
  readonly retention: Retention;
}

/** So many records may be sent again after a power cut before cursors are worth an fsync. */
const maxExposed = 5_000;

/**
 * What is done once a second: cursors that no commit took along are written, what exceeds a bound is deleted, and its
 * space given back.
 * @returns whether a queue that rejects is full.
 * @throws what the store throws.
 */
export async function upkeep(deps: UpkeepDeps): Promise<boolean> {
  const { store, clock, quality, space, cursors, shifts, events, retention } = deps;
  retention.begun(deps.segments().bytes);
  await space.watch();
  shifts.look(clock.wall(), clock.monotonic(), quality());
  const segments = deps.segments();
  const sync = cursors.exposed(segments, deps.fsynced()) > maxExposed;
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
