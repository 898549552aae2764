import type { Clock } from '../base/index.ts';

const second = 1_000;
/** Open for so long, it is a store that works. */
const steady = 60 * second;
/** After the first failures it is tried again promptly. */
const promptly = 3;
const longest = 10 * second;

/** When to open a store anew that failed: soon, and less often where it opens and fails, for each time takes a boot number. */
export class ReopenPace {
  readonly #clock: Clock;
  #failures = 0;
  #openedAt: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  opened(): void {
    this.#openedAt = this.#clock.monotonic();
  }

  /** It failed, once more: milliseconds to wait. */
  failed(): number {
    if (this.#openedAt !== undefined && this.#clock.monotonic() - this.#openedAt > steady) this.#failures = 0;
    this.#openedAt = undefined;
    this.#failures += 1;
    return Math.min(longest, second * 2 ** Math.max(0, this.#failures - promptly));
  }
}
