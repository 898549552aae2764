import type { ReplayOptions } from './options.ts';
import { TokenBucket } from './token-bucket.ts';

/** When a message of the backlog may be sent: not before a random delay, then so many messages and bytes a second. */
export class Pace {
  readonly #messages: TokenBucket;
  readonly #bytes: TokenBucket;
  readonly #begin: number;

  /** `random`: numbers in [0, 1). `now`: monotonic milliseconds. */
  constructor(options: ReplayOptions, random: () => number, now: number) {
    this.#begin = now + random() * options.startDelay;
    this.#messages = new TokenBucket(options.rate, this.#begin);
    this.#bytes = new TokenBucket(options.bytesRate, this.#begin);
  }

  /** 0 where a message of `bytes` may be sent, which it then counts as; otherwise the milliseconds until it may. */
  take(bytes: number, now: number): number {
    if (now < this.#begin) return Math.ceil(this.#begin - now);
    const wait = Math.max(this.#messages.wait(1, now), this.#bytes.wait(bytes, now));
    if (wait > 0) return wait;
    this.#messages.spend(1);
    this.#bytes.spend(bytes);
    return 0;
  }
}
