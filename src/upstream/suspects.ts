import type { Logger } from '../telemetry/index.ts';

/** What a link that is over tells about the messages sent on it. */
export interface LinkVerdict {
  /** The broker closed it, and did not say that it was for another reason. */
  readonly closed: boolean;
  /** The queue got shorter from its front. */
  readonly moved: boolean;
  /** Sent and not acknowledged. */
  readonly open: number;
  /** Of a careful link: the message that was under way, where it took other messages before, and was closed soon after this. */
  readonly blamed: { readonly id: bigint; readonly topic: string; readonly qos: number } | undefined;
}

/** Links in a row that the broker closes on messages without acknowledging the first, after which they go one by one. */
const barrenLinks = 3;
/** Links that have to end on a message, one in a row, until it is given up. */
const closings = 5;
/** Messages of a topic in a row that are given up, until the rest of it is, for `topicBan` milliseconds. */
const topicMessages = 3;
const topicBan = 3_600_000;
const maxTopics = 1_000;
const qos2Lowered = 'the broker closes the connection on QoS 2; messages go to it with QoS 1 from now on';

/**
 * Finds the message that a broker does not bear: one that closes the link instead of refusing it, as brokers of 3.1.1 do
 * that have no other word for it. Nothing is given up for what a broker in trouble does as well: messages go one by one, each
 * on a link that has held, and on which the broker has just acknowledged another message, the status; and after one was given
 * up no message of another topic is, until one was acknowledged.
 */
export class Suspects {
  readonly #name: string;
  readonly #logger: Logger;
  #barren = 0;
  #careful = false;
  /** Links in a row that were closed before they were up, over QoS 2. */
  #releases = 0;
  #suspect: bigint | undefined;
  #closings = 0;
  #condemned: bigint | undefined;
  /** The message over which QoS 2 was given up. */
  #lowered: bigint | undefined;
  #lowerQos = false;
  /** The topic of what was given up since a message was acknowledged. */
  #since: string | undefined;
  /** Messages given up in a row by topic, and until when the rest of it is. */
  readonly #topics = new Map<string, { count: number; until: number }>();

  constructor(deps: { readonly name: string; readonly logger: Logger }) {
    this.#name = deps.name;
    this.#logger = deps.logger;
  }

  /** Whether messages are to go one by one. */
  get careful(): boolean {
    return this.#careful;
  }

  /** The highest QoS that the broker bears, as far as that was found out. */
  get maximumQos(): 1 | 2 {
    return this.#lowerQos ? 1 : 2;
  }

  /** Whether the message is given up. `now`: monotonic milliseconds. */
  condemned(id: bigint, topic: string, now: number): boolean {
    if (id === this.#condemned) return true;
    return this.#topics.size > 0 && (this.#topics.get(topic)?.until ?? 0) > now;
  }

  /** The broker closed a link that had begun with what belongs to QoS 2, before anything was sent. */
  closedOnRelease(): void {
    this.#releases += 1;
    if (this.#releases < barrenLinks || this.#lowerQos) return;
    this.#lowerQos = true;
    this.#logger.warn({ upstream: this.#name }, qos2Lowered);
  }

  /** A link is up. */
  up(): void {
    this.#releases = 0;
  }

  /** A message was acknowledged. */
  acknowledged(id: bigint, topic: string): void {
    this.#since = undefined;
    this.#topics.delete(topic);
    if (!this.#careful) return;
    this.#careful = false;
    this.#barren = 0;
    this.#suspect = undefined;
    if (id !== this.#lowered) return;
    this.#lowered = undefined;
    this.#logger.warn({ upstream: this.#name, topic }, qos2Lowered);
  }

  /** A link is over. `now`: monotonic milliseconds. */
  ended(verdict: LinkVerdict, now: number): void {
    if (!verdict.closed) return;
    if (!this.#careful) {
      this.#barren = verdict.open > 0 && !verdict.moved ? this.#barren + 1 : 0;
      if (this.#barren < barrenLinks) return;
      this.#careful = true;
      this.#logger.warn(
        { upstream: this.#name },
        'the broker closes the connection on what it is sent; messages go one by one to find which it is',
      );
      return;
    }
    const { blamed } = verdict;
    if (blamed === undefined) {
      // it closes without that message, too
      this.#suspect = undefined;
      return;
    }
    this.#closings = blamed.id === this.#suspect ? this.#closings + 1 : 1;
    this.#suspect = blamed.id;
    const known = (this.#topics.get(blamed.topic)?.count ?? 0) > 0;
    if (this.#closings < (known ? 2 : closings)) return;
    this.#suspect = undefined;
    if (blamed.qos === 2 && !this.#lowerQos) {
      this.#lowerQos = true;
      this.#lowered = blamed.id;
      return;
    }
    // a broker that takes nothing of two topics takes nothing at all: that is not the messages' fault
    if (this.#since === undefined || this.#since === blamed.topic) this.#condemn(blamed.id, blamed.topic, now);
  }

  #condemn(id: bigint, topic: string, now: number): void {
    // it was not for the QoS
    if (id === this.#lowered) {
      this.#lowerQos = false;
      this.#lowered = undefined;
    }
    this.#condemned = id;
    this.#since = topic;
    const count = (this.#topics.get(topic)?.count ?? 0) + 1;
    this.#topics.delete(topic);
    const [oldest] = this.#topics.keys();
    if (oldest !== undefined && this.#topics.size >= maxTopics) this.#topics.delete(oldest);
    this.#topics.set(topic, { count, until: count >= topicMessages ? now + topicBan : 0 });
    this.#logger.warn(
      { upstream: this.#name, topic, closings },
      count < topicMessages
        ? 'the broker closes the connection on a message and on no other: it is given up'
        : 'the broker closes the connection on every message of a topic: they are given up for an hour',
    );
  }
}
