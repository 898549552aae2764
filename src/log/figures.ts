import type { Counter, Metrics } from '../telemetry/index.ts';

/** The log's figures. */
export class LogFigures {
  /** Messages that upstreams had before the disk had to have them. */
  readonly delivered: Counter;
  readonly #commits: Counter;
  readonly #commitMs: Counter;
  readonly #lazy: Counter;
  readonly #records: Counter;

  constructor(metrics: Metrics, size: () => { readonly bytes: number; readonly records: number }) {
    this.#commits = metrics.counter('holdfast_log_commits_total', 'Group commits that reached the disk.');
    this.#commitMs = metrics.counter('holdfast_log_commit_milliseconds_total', 'Time spent in commits.');
    this.#lazy = metrics.counter('holdfast_log_lazy_writes_total', 'Writes without an fsync, of what was delivered.');
    this.#records = metrics.counter('holdfast_log_records_total', 'Records written.');
    this.delivered = metrics.counter(
      'holdfast_log_delivered_total',
      'Messages acknowledged by upstreams before their commit.',
    );
    metrics.gauge('holdfast_log_bytes', 'Bytes of records kept.', () => size().bytes);
    metrics.gauge('holdfast_log_messages', 'Records kept.', () => size().records);
  }

  /** A write of `records` took `ms`. */
  committed(records: number, ms: number, sync: boolean): void {
    this.#records.add(records);
    if (!sync) {
      this.#lazy.add();
      return;
    }
    this.#commits.add();
    this.#commitMs.add(ms);
  }
}
