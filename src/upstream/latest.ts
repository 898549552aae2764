import { type Clock, reasonOf, type Timer } from '../base/index.ts';
import { laterOf, type QoS, type StoredMessage } from '../domain/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { UpstreamLog } from './deps.ts';
import type { Mapped } from './topic-map.ts';

export interface LatestDeps {
  readonly name: string;
  readonly log: UpstreamLog;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Where a message goes; undefined where it is not wanted. */
  readonly mapped: (message: StoredMessage) => Mapped | undefined;
}

const page = { records: 512, bytes: 256 * 1_024 };
/** Topics of which the newest message is known; one more is not thinned out. */
const maxTopics = 100_000;
const retry = 5_000;

/**
 * Which message is the newest of each topic of a rule that keeps only that: found by reading the queue through once, and
 * on from there after each commit. What is not known yet is sent needlessly, never withheld.
 */
export class LatestByTopic {
  readonly #deps: LatestDeps;
  readonly #newest = new Map<string, { readonly id: bigint; readonly qos: QoS }>();
  #at: bigint;
  #reading = false;
  #timer: Timer | undefined;
  #uncommit: (() => void) | undefined;
  #pruneAt = 1_024;

  constructor(deps: LatestDeps) {
    this.#deps = deps;
    this.#at = deps.log.cursor(deps.name) ?? deps.log.head;
  }

  /** Begins; returns what ends it. */
  follow(): () => void {
    this.#uncommit = this.#deps.log.onCommit(() => this.#later(0));
    this.#later(0);
    return () => {
      this.#uncommit?.();
      this.#uncommit = undefined;
      this.#timer?.cancel();
    };
  }

  /** Whether a newer message of the same topic takes its place. One of QoS 0 does so only for its like. */
  supersedes(message: StoredMessage): boolean {
    const newest = this.#newest.get(message.topic);
    return newest !== undefined && newest.id > message.id && (newest.qos > 0 || message.qos === 0);
  }

  #later(ms: number): void {
    if (this.#uncommit === undefined || this.#reading || this.#timer !== undefined) return;
    const run = () => {
      this.#timer = undefined;
      this.#read();
    };
    const { clock } = this.#deps;
    this.#timer = ms === 0 ? clock.soon('upstream latest', run) : clock.after('upstream latest', ms, run);
  }

  #read(): void {
    const { log, logger, name } = this.#deps;
    this.#reading = true;
    Promise.resolve()
      .then(() => log.read(laterOf(this.#at, log.head), page))
      .then(
        ({ messages, next }) => {
          this.#reading = false;
          for (const message of messages) this.#note(message);
          const more = next > this.#at;
          this.#at = next;
          if (more) this.#later(0);
        },
        (thrown: unknown) => {
          this.#reading = false;
          logger.error({ upstream: name, reason: reasonOf(thrown) }, 'the log could not be read');
          this.#later(retry);
        },
      );
  }

  #note(message: StoredMessage): void {
    if (this.#deps.mapped(message)?.latest !== true) return;
    const { topic, id, qos } = message;
    if (this.#newest.size >= this.#pruneAt && !this.#newest.has(topic)) this.#prune();
    if (this.#newest.size < maxTopics || this.#newest.has(topic)) this.#newest.set(topic, { id, qos });
  }

  /** Forgets what is sent already. */
  #prune(): void {
    const { log, name } = this.#deps;
    const cursor = log.cursor(name) ?? log.head;
    for (const [topic, { id }] of this.#newest) if (id < cursor) this.#newest.delete(topic);
    this.#pruneAt = Math.min(maxTopics, Math.max(1_024, this.#newest.size * 2));
  }
}
