import type { Clock } from '../base/index.ts';

const sampling = 100;
/** Messages a second. */
const much = 500;

/** Whether devices send so much that queries should give way: measured since it was last asked, over 100 ms at least. */
export class IngestLoad {
  readonly #clock: Clock;
  readonly #messages: () => number;
  #at: number;
  #last: number;
  #busy = false;

  /** `messages`: how many were accepted so far. */
  constructor(clock: Clock, messages: () => number) {
    this.#clock = clock;
    this.#messages = messages;
    this.#at = clock.monotonic();
    this.#last = messages();
  }

  get busy(): boolean {
    const now = this.#clock.monotonic();
    if (now - this.#at >= sampling) {
      const messages = this.#messages();
      this.#busy = ((messages - this.#last) / (now - this.#at)) * 1_000 > much;
      this.#last = messages;
      this.#at = now;
    }
    return this.#busy;
  }
}
