import { type Clock, HoldfastError, type Service } from '../base/index.ts';
import type { AccessRules } from '../connections/index.ts';
import {
  type Message,
  type Origin,
  type StoredMessage,
  storedMessage,
  TopicTree,
  topicNameProblem,
} from '../domain/index.ts';
import type { StateChange } from '../log/index.ts';
import type { Counter, Logger, Metrics } from '../telemetry/index.ts';
import { type RetainedBounds, RetainedMessages } from './retained.ts';

/** What the pipeline needs of the log. */
export interface PipelineLog {
  append(message: Message, done: (error: HoldfastError | undefined) => void, change?: StateChange): bigint;
  /** @throws HoldfastError as `append` would for payloads of so many bytes. */
  checkRoom(bytes: number): void;
  /** Only the disk counts for the message. */
  require(id: bigint): void;
  kept(prefix: string): AsyncIterable<readonly [string, StoredMessage]>;
  age(message: StoredMessage): number | undefined;
}

/** A local subscriber: gets each message with its id, in the order of ids, in the same turn as it was accepted. */
export type Subscriber = (message: Message, id: bigint) => void;

/** Called once the message is on disk, with its id, or with the error where it is not. */
export type Accepted = (error?: HoldfastError, id?: bigint) => void;

export interface PipelineOptions {
  /** Bytes. */
  readonly maxPayload: number;
  readonly retained: RetainedBounds;
}

const retainedPrefix = 'retained/';
const origins: readonly Origin[] = ['coap', 'mqtt', 'rest', 'upstream', 'gateway'];

/** The one way in for every message, and the way out to local subscribers. */
export class Pipeline implements Service {
  readonly name = 'pipeline';
  readonly #log: PipelineLog;
  readonly #rules: AccessRules;
  readonly #options: PipelineOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #tree = new TopicTree<Subscriber>();
  readonly #everything = new Set<Subscriber>();
  readonly #retained: RetainedMessages;
  readonly #received: Readonly<Record<Origin, Counter>>;
  readonly #accepted: Counter;
  readonly #metrics: Metrics;

  constructor(deps: {
    log: PipelineLog;
    rules: AccessRules;
    clock: Clock;
    logger: Logger;
    metrics: Metrics;
    options: PipelineOptions;
  }) {
    this.#log = deps.log;
    this.#rules = deps.rules;
    this.#options = deps.options;
    this.#clock = deps.clock;
    this.#logger = deps.logger;
    this.#metrics = deps.metrics;
    this.#retained = new RetainedMessages(deps.options.retained, (message) => deps.log.age(message));
    const received = (origin: Origin) =>
      deps.metrics.counter('holdfast_messages_received_total', 'Messages offered.', { protocol: origin });
    this.#received = Object.fromEntries(origins.map((origin) => [origin, received(origin)])) as Record<Origin, Counter>;
    this.#accepted = deps.metrics.counter('holdfast_messages_acknowledged_total', 'Messages on disk and acknowledged.');
    deps.metrics.gauge('holdfast_retained_messages', 'Retained messages.', () => this.#retained.count);
  }

  /** Reads the retained messages back. */
  async start(): Promise<void> {
    for await (const [, message] of this.#log.kept(retainedPrefix)) this.#retained.set(message);
    if (this.#retained.count > 0) this.#logger.info({ messages: this.#retained.count }, 'retained messages are back');
  }

  async stop(): Promise<void> {
    return undefined;
  }

  get retained(): Pick<RetainedMessages, 'get' | 'matching' | 'topics'> {
    return this.#retained;
  }

  /**
   * Checks, logs and routes a message. Local subscribers get it at once; `done` follows when it is on disk. Where it is
   * refused, `done` is called at once with `invalid_topic`, `payload_too_large`, `access_denied`, `limit_reached`,
   * `overloaded`, `store_full`, `store_failed` or `unavailable`, and nobody gets it.
   */
  publish(message: Message, done: Accepted): void {
    try {
      this.#admit(message);
      this.#accept(message, done);
    } catch (thrown) {
      if (!(thrown instanceof HoldfastError)) throw thrown;
      this.#refused(thrown);
      done(thrown);
    }
  }

  /**
   * Publishes several messages, all or none: `done` follows when all are on disk, with their ids in the order given, or
   * with the error, and then none is kept.
   */
  publishTogether(
    messages: readonly Message[],
    done: (error: HoldfastError | undefined, ids: readonly bigint[]) => void,
  ): void {
    const ids: bigint[] = [];
    let waiting = messages.length;
    let failure: HoldfastError | undefined;
    const one: Accepted = (error) => {
      waiting -= 1;
      failure ??= error;
      if (waiting === 0) done(failure, failure === undefined ? ids : []);
    };
    try {
      for (const message of messages) this.#admit(message);
      this.#log.checkRoom(messages.reduce((bytes, { payload }) => bytes + payload.length, 0));
    } catch (thrown) {
      if (!(thrown instanceof HoldfastError)) throw thrown;
      this.#refused(thrown);
      done(thrown, []);
      return;
    }
    for (const message of messages) ids.push(this.#accept(message, one));
    // one batch of the disk has them all; an upstream's acknowledgements come one by one
    if (ids.length > 1) for (const id of ids) this.#log.require(id);
  }

  /** Files a subscriber under a valid filter; returns what takes it out again. */
  subscribe(filter: string, subscriber: Subscriber): () => void {
    this.#tree.add(filter, subscriber);
    return () => void this.#tree.delete(filter, subscriber);
  }

  /** A subscriber to every message, `$` topics included; returns what takes it out again. */
  onMessage(subscriber: Subscriber): () => void {
    this.#everything.add(subscriber);
    return () => void this.#everything.delete(subscriber);
  }

  /** Logs and routes what was admitted. */
  #accept(message: Message, done: Accepted): bigint {
    const id = this.#log.append(
      message,
      (error) => {
        if (error === undefined) {
          this.#accepted.add();
          done(undefined, id);
        } else {
          this.#refused(error);
          done(error);
        }
      },
      message.retain ? { key: retainedPrefix + message.topic, keep: message.payload.length > 0 } : undefined,
    );
    if (message.retain) this.#retain(message, id);
    for (const subscriber of this.#everything) subscriber(message, id);
    this.#tree.match(message.topic, (subscriber) => subscriber(message, id));
    return id;
  }

  #admit(message: Message): void {
    this.#received[message.origin].add();
    const problem = topicNameProblem(message.topic);
    if (problem !== undefined) throw new HoldfastError('invalid_topic', `invalid topic: ${problem}`);
    if (message.payload.length > this.#options.maxPayload) {
      throw new HoldfastError(
        'payload_too_large',
        `payload of ${message.payload.length} bytes, limit ${this.#options.maxPayload}`,
      );
    }
    if (message.origin === 'gateway') return;
    if (message.topic.startsWith('$SYS/'))
      throw new HoldfastError('access_denied', '$SYS topics are the gateway’s own');
    if (message.origin !== 'upstream' && !this.#rules.allows(message, 'publish', message.topic)) {
      throw new HoldfastError('access_denied', 'not allowed to publish to this topic');
    }
    if (message.retain && message.payload.length > 0) this.#retained.check(message.topic, message.payload.length);
  }

  #retain(message: Message, id: bigint): void {
    const payload = Buffer.from(message.payload);
    const [wall, monotonic] = [this.#clock.wall(), this.#clock.monotonic()];
    this.#retained.set(storedMessage(message, id, wall, 'synced', monotonic, payload));
  }

  #refused(error: HoldfastError): void {
    this.#metrics.counter('holdfast_messages_refused_total', 'Messages refused.', { reason: error.code }).add();
  }
}
