import { HoldfastError } from '../base/index.ts';
import { entriesMatching, type StoredMessage } from '../domain/index.ts';

export interface RetainedBounds {
  readonly maxMessages: number;
  readonly maxBytes: number;
}

/** The last retained message of each topic, in memory; the log keeps them on disk. */
export class RetainedMessages {
  readonly #bounds: RetainedBounds;
  readonly #age: (message: StoredMessage) => number | undefined;
  readonly #messages = new Map<string, StoredMessage>();
  #bytes = 0;

  /** `age`: milliseconds since acceptance, or undefined where the clocks cannot tell. */
  constructor(bounds: RetainedBounds, age: (message: StoredMessage) => number | undefined) {
    this.#bounds = bounds;
    this.#age = age;
  }

  get count(): number {
    return this.#messages.size;
  }

  /** @throws HoldfastError `limit_reached` where one more for `topic` with `bytes` of payload exceeds a bound. */
  check(topic: string, bytes: number): void {
    const older = this.#messages.get(topic);
    const { maxMessages, maxBytes } = this.#bounds;
    if (older === undefined && this.#messages.size >= maxMessages) {
      throw new HoldfastError('limit_reached', `the limit of ${maxMessages} retained messages is reached`);
    }
    if (this.#bytes - (older?.payload.length ?? 0) + bytes > maxBytes) {
      throw new HoldfastError('limit_reached', `the limit of ${maxBytes} bytes of retained messages is reached`);
    }
  }

  /** Takes the place of the topic's message; an empty payload clears it. */
  set(message: StoredMessage): void {
    this.delete(message.topic);
    if (message.payload.length === 0) return;
    this.#messages.set(message.topic, message);
    this.#bytes += message.payload.length;
  }

  delete(topic: string): void {
    const older = this.#messages.get(topic);
    if (older === undefined) return;
    this.#messages.delete(topic);
    this.#bytes -= older.payload.length;
  }

  get(topic: string): StoredMessage | undefined {
    const message = this.#messages.get(topic);
    return message === undefined || this.#expired(message) ? undefined : message;
  }

  /** The live messages whose topic `filter` matches. */
  *matching(filter: string): Generator<StoredMessage> {
    for (const [, message] of entriesMatching(this.#messages, filter)) if (!this.#expired(message)) yield message;
  }

  /** Topics with a live message. */
  *topics(): Generator<string> {
    for (const [topic, message] of this.#messages) if (!this.#expired(message)) yield topic;
  }

  #expired(message: StoredMessage): boolean {
    if (message.expiry === 0) return false;
    const age = this.#age(message);
    return age !== undefined && age > message.expiry * 1_000;
  }
}
