import { HoldfastError } from '../base/index.ts';

/** Lets a number of tasks run at once; others wait, up to a bound. */
export class Turnstile {
  readonly #limit: number;
  readonly #maxWaiting: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(limit: number, maxWaiting: number) {
    this.#limit = limit;
    this.#maxWaiting = maxWaiting;
  }

  /** @throws HoldfastError `overloaded` where too many wait. */
  async run<Result>(task: () => Promise<Result>): Promise<Result> {
    if (this.#running < this.#limit) this.#running += 1;
    else {
      if (this.#waiting.length >= this.#maxWaiting) throw new HoldfastError('overloaded', 'too many queries at once');
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }
}
