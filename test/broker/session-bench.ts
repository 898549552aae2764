import type { Readable } from 'node:stream';
import { type PersistedPacket, SessionPersistence } from '../../src/broker/persistence.ts';
import type { Message, QoS, StoredMessage } from '../../src/domain/index.ts';
import type { Store } from '../../src/log/index.ts';
import { defaultSessionLimits, type SessionLimits, type SessionLog, SessionStore } from '../../src/sessions/index.ts';
import { Health, Metrics, silentLogger } from '../../src/telemetry/index.ts';
import { message, settle } from '../log/support.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { MemoryStore } from '../support/memory-store.ts';

/** A log that a test fills by hand. */
export class FakeLog implements SessionLog {
  readonly messages: StoredMessage[] = [];
  readonly clock: FakeClock;
  place = 0n;
  held = false;
  next = 1n;

  constructor(clock: FakeClock) {
    this.clock = clock;
  }

  append(given: Message): StoredMessage {
    const time = { time: this.clock.wall(), timeQuality: 'synced' as const, monotonic: this.clock.monotonic() };
    const stored: StoredMessage = { ...given, ...time, id: this.next };
    this.next += 1n;
    this.messages.push(stored);
    return stored;
  }

  readonly required: bigint[] = [];

  require(id: bigint): void {
    this.required.push(id);
  }

  read(from: bigint, max: { readonly records: number }) {
    const messages = this.messages.filter(({ id }) => id >= from).slice(0, max.records);
    return { messages, next: (messages.at(-1)?.id ?? from - 1n) + 1n, lost: 0 };
  }

  age({ time }: Pick<StoredMessage, 'time'>): number {
    return this.clock.wall() - time;
  }

  holdFor(): void {
    this.held = true;
  }

  moveCursor(_name: string, to: bigint): void {
    this.place = to;
  }
}

/** A client as aedes hands it to its persistence. */
export interface FakeClient {
  id: string;
  clean: boolean;
  closed: boolean;
}

export interface SessionBench<Disk extends Store = Store> {
  readonly clock: FakeClock;
  readonly log: FakeLog;
  readonly disk: Disk;
  readonly metrics: Metrics;
  readonly health: Health;
  readonly store: SessionStore;
  readonly persistence: SessionPersistence;
  publish(payload: string, changes?: Partial<Message>): bigint;
  connect(id: string): FakeClient;
  disconnect(client: FakeClient): void;
  subscribe(client: FakeClient, filter: string, qos: QoS): Promise<void>;
  queued(id: string): string[];
  dropped(reason: string): number;
  tick(ms: number): Promise<void>;
}

export interface BenchOptions {
  readonly log?: FakeLog;
  readonly limits?: Partial<SessionLimits>;
  readonly granted?: (topic: string) => boolean;
}

export function startSessions(given?: BenchOptions & { disk?: MemoryStore }): Promise<SessionBench<MemoryStore>>;
export function startSessions<Disk extends Store>(given: BenchOptions & { disk: Disk }): Promise<SessionBench<Disk>>;
export async function startSessions(given: BenchOptions & { disk?: Store } = {}): Promise<SessionBench> {
  const clock = given.log?.clock ?? new FakeClock();
  const log = given.log ?? new FakeLog(clock);
  const disk = given.disk ?? new MemoryStore();
  const metrics = new Metrics();
  const health = new Health(clock);
  let heard: ((message: Message, id: bigint) => void) | undefined;
  const store = new SessionStore({
    store: disk,
    log,
    clock,
    quality: () => 'synced',
    logger: silentLogger,
    metrics,
    health,
    limits: { ...defaultSessionLimits, ...given.limits },
    source: {
      onMessage: (subscriber) => {
        heard = subscriber;
        return () => undefined;
      },
    },
  });
  await store.start();
  const persistence = new SessionPersistence({
    retained: { get: () => undefined, matching: () => [] },
    store,
    granted: ({ topic }) => given.granted?.(topic) ?? true,
    usernameOf: () => 'ann',
    acknowledged: () => undefined,
    sys: () => [],
  });
  return {
    clock,
    log,
    disk,
    metrics,
    health,
    store,
    persistence,
    publish: (payload, changes) => {
      const stored = log.append(message(payload, 'a/b', changes));
      heard?.(stored, stored.id);
      return stored.id;
    },
    connect: (id) => {
      const client = { id, clean: false, closed: false };
      store.sessions.opened(id, client);
      return client;
    },
    disconnect: (client) => {
      client.closed = true;
      store.sessions.closed(client.id, client);
    },
    subscribe: (client, filter, qos) => persistence.addSubscriptions(client, [{ topic: filter, qos }]),
    queued: (id) =>
      [...(store.sessions.get(id)?.queue.values() ?? [])].map(({ content }) => `${content?.content.payload}`),
    dropped: (reason) => metrics.value('holdfast_session_dropped_total', { reason }) ?? -1,
    tick: async (ms) => {
      clock.advance(ms);
      await settle(clock);
    },
  };
}

/** Sends the backlog as aedes does, each numbered as it goes. */
export async function drain(
  persistence: SessionPersistence,
  client: FakeClient,
  stream: Readable = persistence.outgoingStream(client),
): Promise<PersistedPacket[]> {
  const packets: PersistedPacket[] = [];
  for await (const packet of stream) {
    const own: PersistedPacket = { ...packet };
    await persistence.outgoingUpdate(client, own);
    packets.push(own);
  }
  return packets;
}
