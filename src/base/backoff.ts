/** How long to wait between attempts. Milliseconds. */
export interface BackoffOptions {
  /** Upper bound of the first wait. */
  readonly base: number;
  /** Upper bound of every wait. */
  readonly cap: number;
}

/**
 * Full-jitter exponential back-off: each wait is uniform between 0 and a bound that doubles from `base` to `cap`,
 * so that many gateways cut off at once do not come back at once.
 */
export class Backoff {
  readonly #options: BackoffOptions;
  readonly #random: () => number;
  #attempts = 0;

  /** `random` gives numbers in [0, 1). */
  constructor(options: BackoffOptions, random: () => number = Math.random) {
    this.#options = options;
    this.#random = random;
  }

  /** The next wait, in milliseconds. */
  next(): number {
    const bound = Math.min(this.#options.cap, this.#options.base * 2 ** Math.min(this.#attempts, 30));
    this.#attempts += 1;
    return Math.round(this.#random() * bound);
  }

  /** Starts again at `base`: call it once an attempt has proved stable. */
  reset(): void {
    this.#attempts = 0;
  }
}
