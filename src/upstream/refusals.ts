import type { Logger } from '../telemetry/index.ts';
import type { UpstreamCounters } from './upstream-counters.ts';

const logInterval = 60_000;

/** Dead letters: messages that no later attempt would bring through, so that they must not stand in the way. */
export class Refusals {
  readonly #name: string;
  readonly #counters: UpstreamCounters;
  readonly #logger: Logger;
  #count = 0;
  #loggedAt = Number.NEGATIVE_INFINITY;

  constructor(deps: { readonly name: string; readonly counters: UpstreamCounters; readonly logger: Logger }) {
    this.#name = deps.name;
    this.#counters = deps.counters;
    this.#logger = deps.logger;
  }

  /** Counts one, and says so once a minute at most. `now`: monotonic milliseconds. */
  add(topic: string, reason: string, now: number): void {
    this.#counters.refused(reason).add();
    this.#count += 1;
    if (now - this.#loggedAt < logInterval) return;
    this.#logger.warn(
      { upstream: this.#name, reason, topic, count: this.#count },
      'messages refused for good and given up',
    );
    this.#count = 0;
    this.#loggedAt = now;
  }
}
