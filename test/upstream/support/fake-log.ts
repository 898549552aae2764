import { type Message, makeMessageId, type Span, type StoredMessage } from '../../../src/domain/index.ts';
import type { LogPage, UpstreamLog } from '../../../src/upstream/index.ts';

/** A log in memory. `slow` answers reads with promises, as a disk does. */
export class FakeLog implements UpstreamLog {
  readonly #messages: StoredMessage[] = [];
  readonly #cursors = new Map<string, bigint>();
  readonly #listeners = new Set<() => void>();
  readonly #damaged = new Map<bigint, number>();
  head = makeMessageId(1, 1);
  next = makeMessageId(1, 1);
  slow = false;
  reads = 0;
  now: () => number;

  constructor(now: () => number = () => 0) {
    this.now = now;
  }

  append(message: Partial<StoredMessage> = {}, commit = true): bigint {
    const id = this.next;
    this.next += 1n;
    this.#messages.push({
      topic: 't/1',
      payload: Buffer.from(`p${id & 0xffffffn}`),
      qos: 1,
      retain: false,
      expiry: 0,
      origin: 'coap',
      upstream: '',
      clientId: 'dev1@app',
      username: '',
      connection: 0n,
      time: 1_700_000_000_000,
      timeQuality: 'synced',
      monotonic: this.now(),
      ...message,
      id,
    });
    if (commit) this.commit();
    return id;
  }

  appendMany(count: number, message: (at: number) => Partial<StoredMessage> = () => ({})): void {
    for (let at = 0; at < count; at++) this.append(message(at), false);
    this.commit();
  }

  /** A record that is no message. */
  other(): void {
    this.next += 1n;
    this.commit();
  }

  commit(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  trim(head: bigint): void {
    this.head = head;
    while (this.#messages[0] !== undefined && this.#messages[0].id < head) this.#messages.shift();
  }

  /** Makes one record unreadable. */
  damage(id: bigint): void {
    const at = this.#messages.findIndex((message) => message.id === id);
    this.#messages.splice(at, 1);
    this.#damaged.set(id, 1);
  }

  read(from: bigint, max: { readonly records: number; readonly bytes: number }): LogPage | Promise<LogPage> {
    this.reads += 1;
    const page = this.#page(from, max.records);
    return this.slow ? Promise.resolve(page) : page;
  }

  #page(from: bigint, records: number): LogPage {
    let at = 0;
    for (let end = this.#messages.length; at < end; ) {
      const middle = (at + end) >> 1;
      if ((this.#messages[middle]?.id ?? from) < from) at = middle + 1;
      else end = middle;
    }
    const messages = this.#messages.slice(at, at + records);
    const more = this.#messages.length > at + records;
    const next = more ? (messages.at(-1)?.id ?? from) + 1n : this.next > from ? this.next : from;
    let lost = 0;
    for (const id of this.#damaged.keys()) if (id >= from && id < next) lost += 1;
    return { messages, next, lost };
  }

  /** All that it has is on its disk. */
  ahead(from: bigint): LogPage {
    return { messages: [], next: from, lost: 0 };
  }

  deliverThrough(): () => void {
    return () => undefined;
  }

  readonly acknowledged: bigint[] = [];

  delivered(id: bigint): void {
    this.acknowledged.push(id);
  }

  cursor(name: string): bigint | undefined {
    return this.#cursors.get(name);
  }

  /** Messages of QoS 0 below are given up. */
  shed = 0n;
  readonly #done = new Map<string, readonly Span[]>();

  done(name: string): readonly Span[] {
    return this.#done.get(name) ?? [];
  }

  shedBelow(): bigint {
    return this.shed;
  }

  moveCursor(name: string, to: bigint, done: readonly Span[] = []): void {
    this.#cursors.set(name, to);
    this.#done.set(name, done);
  }

  onCommit(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get listeners(): number {
    return this.#listeners.size;
  }
}

export const plainMessage: Message = {
  topic: 't/1',
  payload: Buffer.from('x'),
  qos: 1,
  retain: false,
  expiry: 0,
  origin: 'coap',
  upstream: '',
  clientId: '',
  username: '',
  connection: 0n,
};
