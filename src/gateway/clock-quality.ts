import { existsSync } from 'node:fs';
import type { Clock } from '../base/index.ts';
import type { ClockQuality } from '../domain/index.ts';

/** A board without a battery-backed clock wakes up in 1970, or at the time of its last shutdown. Before this, it is wrong. */
const earliestPlausible = Date.UTC(2025, 0, 1);
/** How often systemd is asked, milliseconds. */
const asking = 1_000;

/** Where systemd-timesyncd says that it is there, and that it has set the clock since the machine started. */
const timesyncd = '/run/systemd/timesync';

/**
 * Whether the wall clock can be believed: not before 2025, nor where systemd-timesyncd is there and has not set it yet. A
 * clock that was believed once goes on to be.
 */
export class ClockWatch {
  readonly #clock: Clock;
  readonly #exists: (path: string) => boolean;
  #believed = false;
  #askedAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, exists: (path: string) => boolean = existsSync) {
    this.#clock = clock;
    this.#exists = exists;
  }

  get quality(): ClockQuality {
    if (this.#clock.wall() < earliestPlausible) return 'unsynced';
    const now = this.#clock.monotonic();
    if (!this.#believed && now - this.#askedAt >= asking) {
      this.#askedAt = now;
      this.#believed = !this.#exists(timesyncd) || this.#exists(`${timesyncd}/synchronized`);
    }
    return this.#believed ? 'synced' : 'unsynced';
  }
}
