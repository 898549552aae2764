/** Takes so many connections a second, and a second's worth at once. `rate` 0 = any number. */
export class ConnectRate {
  readonly #rate: number;
  #left: number;
  #at: number;

  /** `now`: monotonic milliseconds. */
  constructor(rate: number, now: number) {
    this.#rate = rate;
    this.#left = rate;
    this.#at = now;
  }

  /** Whether one more may be taken now. */
  admits(now: number): boolean {
    if (this.#rate === 0) return true;
    this.#left = Math.min(this.#rate, this.#left + ((now - this.#at) / 1_000) * this.#rate);
    this.#at = now;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}
