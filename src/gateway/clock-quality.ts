import type { Clock } from '../base/index.ts';
import type { ClockQuality } from '../domain/index.ts';

/** A board without a battery-backed clock wakes up in 1970, or at the time of its last shutdown. Before this, it is wrong. */
const earliestPlausible = Date.UTC(2025, 0, 1);

/** Whether the wall clock can be believed. */
export function clockQuality(clock: Clock): ClockQuality {
  return clock.wall() >= earliestPlausible ? 'synced' : 'unsynced';
}
