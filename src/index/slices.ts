import type { Clock } from '../base/index.ts';

/** Parts long work into slices, so that whatever else waits for the event loop gets its turn. */
export class Slices {
  readonly #clock: Clock;
  readonly #name: string;
  readonly #ms: number;
  #begun: number;

  constructor(clock: Clock, name: string, ms: number) {
    this.#clock = clock;
    this.#name = name;
    this.#ms = ms;
    this.#begun = clock.monotonic();
  }

  /** Whether the slice is used up. */
  get over(): boolean {
    return this.#clock.monotonic() - this.#begun >= this.#ms;
  }

  /** Resolved once others had their turn; the next slice begins then. */
  async pause(): Promise<void> {
    await new Promise<void>((resolve) => this.#clock.soon(this.#name, resolve));
    this.#begun = this.#clock.monotonic();
  }
}
