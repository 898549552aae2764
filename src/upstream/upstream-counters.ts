import type { Counter, Metrics } from '../telemetry/index.ts';
import type { UpstreamStatus } from './options.ts';

/** The figures of one upstream. */
export class UpstreamCounters {
  readonly #metrics: Metrics;
  readonly #upstream: string;
  readonly published: Counter;
  readonly acknowledged: Counter;
  readonly expired: Counter;
  readonly reconnects: Counter;
  readonly downlinks: Counter;

  constructor(metrics: Metrics, upstream: string) {
    this.#metrics = metrics;
    this.#upstream = upstream;
    const of = (name: string, help: string) => metrics.counter(`holdfast_upstream_${name}_total`, help, { upstream });
    this.published = of('published', 'Messages sent to the broker, repeats included.');
    this.acknowledged = of('acknowledged', 'Messages of QoS 1 and 2 that the broker acknowledged.');
    this.expired = of('expired', 'Messages not sent because they had expired.');
    this.reconnects = of('reconnects', 'Attempts to connect after the first.');
    this.downlinks = of('downlinks', 'Messages from the broker that the log took.');
  }

  /** Messages that the broker will not have. */
  refused(reason: string): Counter {
    return this.#counter('refused', 'Messages that the broker refused for good.', reason);
  }

  /** Messages not sent though a rule wanted them. */
  dropped(reason: string): Counter {
    return this.#counter('dropped', 'Messages given up before they were sent.', reason);
  }

  /** Messages from the broker that went nowhere. */
  downlinksDropped(reason: string): Counter {
    return this.#counter('downlinks_dropped', 'Messages from the broker that were not logged.', reason);
  }

  #counter(name: string, help: string, reason: string): Counter {
    return this.#metrics.counter(`holdfast_upstream_${name}_total`, help, { upstream: this.#upstream, reason });
  }
}

/** What an upstream says of itself, as figures. */
export function upstreamGauges(metrics: Metrics, upstream: string, status: () => UpstreamStatus): void {
  const gauge = (name: string, help: string, read: (of: UpstreamStatus) => number) =>
    metrics.gauge(`holdfast_upstream_${name}`, help, () => read(status()), { upstream });
  gauge('connected', 'Whether a link is up.', ({ state }) => (state === 'connected' ? 1 : 0));
  gauge('in_flight', 'Messages unacknowledged.', ({ inFlight }) => inFlight);
  gauge('queue_messages', 'Messages that wait.', ({ queuedMessages }) => queuedMessages);
  gauge('queue_bytes', 'Bytes of what waits.', ({ queuedBytes }) => queuedBytes ?? 0);
  gauge('queue_oldest_seconds', 'Age of the oldest message that waits.', ({ oldestAge }) => (oldestAge ?? 0) / 1_000);
}
