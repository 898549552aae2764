import type { Clock } from '../base/index.ts';

/** A query is followed by a pause of this many times what queries take lately, at least of `leastPause` milliseconds. */
const pauses = 2;
const leastPause = 10;
const mostPause = 500;

/**
 * Lets queries give way: while the event loop is busy with what devices send, one begins after the other, with a pause
 * between them, so that they take a small part of the time only. While it is not, they begin at once.
 */
export class Courtesy {
  readonly #clock: Clock;
  readonly #busy: () => boolean;
  /** What a query took lately, while it was busy; milliseconds. */
  #takes = 0;
  #next = 0;

  constructor(clock: Clock, busy: () => boolean) {
    this.#clock = clock;
    this.#busy = busy;
  }

  async run<Result>(task: () => Promise<Result>): Promise<Result> {
    if (!this.#busy()) return task();
    const now = this.#clock.monotonic();
    const at = Math.max(now, this.#next);
    this.#next = at + Math.min(mostPause, Math.max(leastPause, pauses * this.#takes));
    if (at > now) await new Promise<void>((resolve) => this.#clock.after('query', at - now, resolve));
    const begun = this.#clock.monotonic();
    try {
      return await task();
    } finally {
      this.#takes += (this.#clock.monotonic() - begun - this.#takes) / 4;
    }
  }
}
