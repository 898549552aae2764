/** Limits a rate: tokens come at `rate` a second, at most one second's worth is saved up. Rate 0 = no limit. */
export class TokenBucket {
  readonly #rate: number;
  readonly #burst: number;
  #tokens: number;
  #at: number;

  /** `now`: monotonic milliseconds. */
  constructor(rate: number, now: number) {
    this.#rate = rate;
    this.#burst = Math.max(1, rate);
    this.#tokens = 1;
    this.#at = now;
  }

  /** Takes a token: 0 where there was one, otherwise the milliseconds until there will be. */
  take(now: number): number {
    if (this.#rate === 0) return 0;
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#at) / 1_000) * this.#rate);
    this.#at = now;
    if (this.#tokens >= 1 - 1e-9) {
      this.#tokens -= 1;
      return 0;
    }
    return Math.max(1, Math.ceil(((1 - this.#tokens) / this.#rate) * 1_000));
  }
}
