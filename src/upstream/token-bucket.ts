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
    this.#tokens = Math.min(1, rate);
    this.#at = now;
  }

  /** Milliseconds until `amount` may be spent, 0 = now. What is more than a second's worth has to wait for one alone. */
  wait(amount: number, now: number): number {
    if (this.#rate === 0) return 0;
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#at) / 1_000) * this.#rate);
    this.#at = now;
    const lacking = Math.min(amount, this.#burst) - this.#tokens;
    return lacking <= 1e-9 ? 0 : Math.max(1, Math.ceil((lacking / this.#rate) * 1_000));
  }

  /** Takes them out; what is not there yet is owed. */
  spend(amount: number): void {
    if (this.#rate > 0) this.#tokens -= amount;
  }
}
