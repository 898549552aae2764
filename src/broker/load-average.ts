/** Minutes over which is averaged, as Mosquitto does. */
export const loadMinutes = [1, 5, 15] as const;

/** How much a count rises per minute, exponentially averaged over one, five and fifteen minutes. */
export class LoadAverage {
  readonly #averages: number[] = loadMinutes.map(() => 0);
  #last: number;

  constructor(count: number) {
    this.#last = count;
  }

  /** `ms` have passed since the last time. */
  advance(count: number, ms: number): void {
    const perMinute = ((count - this.#last) * 60_000) / ms;
    this.#last = count;
    for (const [at, minutes] of loadMinutes.entries()) {
      const weight = Math.exp(-ms / (minutes * 60_000));
      this.#averages[at] = perMinute + weight * ((this.#averages[at] ?? 0) - perMinute);
    }
  }

  /** In the order of `loadMinutes`. */
  get averages(): readonly number[] {
    return this.#averages;
  }
}
