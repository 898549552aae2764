import {
  type ClockQuality,
  type Connected,
  type Delivered,
  type Disconnected,
  type EventPlace,
  type GatewayEvent,
  type Message,
  makeMessageId,
  type StoredEvent,
  type StoredMessage,
} from '../../src/domain/index.ts';
import { Index, type IndexDeps, type IndexedLog, type IndexOptions } from '../../src/index/index.ts';
import type { EventPage, LogPage, Store } from '../../src/log/index.ts';
import { Health, Metrics, silentLogger } from '../../src/telemetry/index.ts';
import { FakeClock } from '../support/fake-clock.ts';

interface Run {
  readonly place: EventPlace;
  readonly events: readonly StoredEvent[];
}

/** A log in memory that can lose its front and go through boots. */
export class FakeLog implements IndexedLog {
  messages: StoredMessage[] = [];
  runs: Run[] = [];
  /** Messages and runs in the order in which they came, those that were trimmed too. */
  readonly journal: (StoredMessage | Run)[] = [];
  readonly listeners = new Set<() => void>();
  /** Whether reads take a turn of the event loop, as those from a disk do. */
  slow = false;
  reads = 0;
  /** While set, nothing is given, as by a log whose store failed. */
  closed = false;
  #boot = 1;
  #position = 0;
  #offset = 0;
  head = makeMessageId(1, 0);
  /** By how much times of a boot were wrong. */
  readonly shifts = new Map<number, number>();
  eventHead: EventPlace = { position: 0n, offset: 0 };
  readonly events: IndexedLog['events'];

  constructor() {
    const head = () => this.eventHead;
    this.events = {
      get head() {
        return head();
      },
      read: (from, max) => this.readEvents(from, max),
      at: (place) => this.eventsAt(place),
    };
  }

  shiftOf(boot: number): number {
    return this.shifts.get(boot) ?? 0;
  }

  get next(): bigint {
    return makeMessageId(this.#boot, this.#position);
  }

  append(changes: Partial<Message>, time: number, timeQuality: ClockQuality = 'synced'): bigint {
    const id = this.next;
    const message: StoredMessage = { ...plain, ...changes, id, time, timeQuality, monotonic: 0 };
    this.#position += 1;
    this.messages.push(message);
    this.journal.push(message);
    this.#announce();
    return id;
  }

  record(events: readonly GatewayEvent[], time: number, timeQuality: ClockQuality = 'synced'): EventPlace {
    const place = { position: this.next, offset: this.#offset };
    this.#offset += 40 + events.length * 30;
    const run = { place, events: events.map((event, index) => ({ ...event, place, index, time, timeQuality })) };
    this.runs.push(run);
    this.journal.push(run);
    this.#announce();
    return place;
  }

  reboot(): void {
    this.#boot += 1;
    this.#position = 0;
    if (this.messages.length === 0) this.head = this.next;
    this.#announce();
  }

  /** Deletes the oldest `count` messages, and the events that lie before what is left. */
  trim(count: number): void {
    this.messages = this.messages.slice(count);
    this.head = this.messages[0]?.id ?? this.next;
    this.runs = this.runs.filter(({ place }) => place.position >= this.head);
    this.eventHead = this.runs[0]?.place ?? { position: this.next, offset: this.#offset };
  }

  /** Deletes the oldest `count` runs of events. */
  trimRuns(count: number): void {
    this.runs = this.runs.slice(count);
    this.eventHead = this.runs[0]?.place ?? { position: this.next, offset: this.#offset };
  }

  read(from: bigint, max: { readonly records: number; readonly bytes: number }): LogPage | Promise<LogPage> {
    this.reads += 1;
    if (this.closed) return { messages: [], next: from, lost: 0 };
    const page = this.#page(from, max);
    if (!this.slow) return page;
    return new Promise((resolve) => setImmediate(() => resolve(page)));
  }

  async readEvents(from: EventPlace, max: { readonly bytes: number }): Promise<EventPage> {
    if (this.closed) return { events: [], next: from };
    const first = this.runs.findIndex(({ place }) => !isBefore(place, from));
    if (first < 0) return { events: [], next: from };
    const events: StoredEvent[] = [];
    let next = from;
    for (const run of this.runs.slice(first)) {
      if (events.length * 30 > Math.min(max.bytes, 300)) break;
      events.push(...run.events);
      next = { position: run.place.position, offset: run.place.offset + 1 };
    }
    return { events, next };
  }

  async eventsAt({ position, offset }: EventPlace): Promise<readonly StoredEvent[]> {
    if (this.closed) return [];
    return this.runs.find(({ place }) => place.position === position && place.offset === offset)?.events ?? [];
  }

  onCommit(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  #page(from: bigint, max: { readonly records: number; readonly bytes: number }): LogPage {
    let low = 0;
    let high = this.messages.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.messages[middle]?.id ?? from) < from) low = middle + 1;
      else high = middle;
    }
    const messages = this.messages.slice(low, low + max.records);
    const last = messages[messages.length - 1];
    if (from >= this.next) return { messages: [], next: from, lost: 0 };
    return {
      messages,
      next: last === undefined || low + messages.length >= this.messages.length ? this.next : last.id + 1n,
      lost: 0,
    };
  }

  #announce(): void {
    for (const listener of this.listeners) listener();
  }
}

const plain: Message = {
  topic: 'a/b',
  payload: Buffer.from('x'),
  qos: 1,
  retain: false,
  expiry: 0,
  origin: 'mqtt',
  upstream: '',
  clientId: '',
  username: '',
  connection: 0n,
};

export function connected(clientId: string, reason: Connected['reason'] = 'normal'): Connected {
  return { kind: 'connected', reason, ...facts, clientId };
}

export function disconnected(clientId: string): Disconnected {
  return { kind: 'disconnected', reason: 'normal', ...facts, clientId };
}

export function delivered(message: bigint, clientId: string, qos: Delivered['qos'] = 0): Delivered {
  return { kind: 'delivered', message, clientId, qos };
}

const facts = {
  connection: 1n,
  username: '',
  network: 'tcp',
  address: '192.0.2.7:40000',
  version: 4,
  keepalive: 60,
  clean: true,
  will: undefined,
} as const;

function isBefore(a: EventPlace, b: EventPlace): boolean {
  return a.position < b.position || (a.position === b.position && a.offset < b.offset);
}

export interface Bench {
  readonly index: Index;
  readonly clock: FakeClock;
  readonly health: Health;
  readonly metrics: Metrics;
}

export function makeIndex(
  store: Store,
  log: IndexedLog,
  options: Partial<IndexOptions> = {},
  more: Pick<IndexDeps, 'discard'> = {},
): Bench {
  const clock = new FakeClock();
  const health = new Health(clock);
  const metrics = new Metrics();
  const index = new Index({ store, log, clock, logger: silentLogger, metrics, health, options, ...more });
  return { index, clock, health, metrics };
}

export async function started(
  store: Store,
  log: IndexedLog,
  options: Partial<IndexOptions> = {},
  more: Pick<IndexDeps, 'discard'> = {},
): Promise<Bench> {
  const bench = makeIndex(store, log, options, more);
  await bench.index.start();
  await settle(bench.clock);
  return bench;
}

/** Lets promises settle, and timers that are due now fire, until nothing more happens. */
export async function settle(clock: FakeClock, rounds = 20): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    clock.advance(0);
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

/** Lets time pass in small steps, as it does. */
export async function pass(clock: FakeClock, ms: number, step = 50): Promise<void> {
  for (let left = ms; left > 0; left -= step) {
    clock.advance(Math.min(step, left));
    await settle(clock, 3);
  }
}

/** Lets time pass until `condition` holds: for a store whose operations take real time. */
export async function until(clock: FakeClock, condition: () => boolean): Promise<void> {
  for (let turn = 0; !condition(); turn++) {
    if (turn > 20_000) throw new Error('it does not come to that');
    await pass(clock, 20, 20);
  }
}

/** Stops it although its clock stands still. */
export async function stopped({ index, clock }: Bench): Promise<void> {
  let over = false;
  const stop = index.stop().finally(() => {
    over = true;
  });
  while (!over) await settle(clock, 1);
  await stop;
}

export async function all<Row>(rows: AsyncIterable<Row>): Promise<Row[]> {
  const found: Row[] = [];
  for await (const row of rows) found.push(row);
  return found;
}
