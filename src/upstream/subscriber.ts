import type { Logger } from '../telemetry/index.ts';
import type { Link, LinkSession } from './link.ts';
import type { Subscription } from './topic-map.ts';

/** Subscribes, on each link that needs it, to what the rules bring down. */
export class Subscriber {
  readonly #upstream: string;
  readonly #logger: Logger;
  readonly #filters: readonly Subscription[];
  /** URLs at which this process has subscribed, in the session that the broker keeps. */
  readonly #subscribed = new Set<string>();

  constructor(upstream: string, subscriptions: readonly Subscription[], logger: Logger) {
    this.#upstream = upstream;
    this.#logger = logger;
    // Never at QoS 2: its PUBREC would tell the broker to forget a message that is not in the log yet.
    this.#filters = subscriptions.map(({ filter, qos }) => ({ filter, qos: qos === 0 ? 0 : 1 }));
  }

  subscribe(link: Link, url: string, session: LinkSession): void {
    if (this.#filters.length === 0) return;
    // 3.1.1 sends all retained messages again for each SUBSCRIBE: not while the broker still has ours.
    if (session.protocol === '3.1.1' && session.sessionPresent && this.#subscribed.has(url)) return;
    link.subscribe(this.#filters, (granted) => {
      this.#subscribed.add(url);
      const refused = this.#filters.filter((_, at) => (granted[at] ?? 0x80) >= 0x80).map(({ filter }) => filter);
      if (refused.length === 0) return;
      this.#logger.error({ upstream: this.#upstream, filters: refused }, 'the broker refused subscriptions');
    });
  }
}
