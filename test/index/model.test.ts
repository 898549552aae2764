import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { GatewayEvent, QoS } from '../../src/domain/index.ts';
import type { ConnectionRecord, IndexOptions, MessageRecord, PageOf, TimeWindow } from '../../src/index/index.ts';
import { MemoryStore } from '../support/memory-store.ts';
import {
  all,
  type Bench,
  connected,
  delivered,
  disconnected,
  FakeLog,
  pass,
  settle,
  started,
  stopped,
} from './support.ts';

const clients = ['one@app', 'two@app', 'three@app'];
const topics = ['a', 'a/b', 'c'];
const start = Date.UTC(2026, 0, 1);

/** The queries, answered the long way. */
class Model {
  readonly #log: FakeLog;

  constructor(log: FakeLog) {
    this.#log = log;
  }

  messageRecords(clientId: string, window: TimeWindow) {
    return this.#log.journal.flatMap((entry): readonly MessageRecord[] => {
      if (!('events' in entry)) {
        if (entry.clientId !== clientId || !this.#isUplink(entry.origin, entry.id)) return [];
        return within(window, [{ time: entry.time, message: entry.id, direction: 'uplink' as const }]);
      }
      return within(
        window,
        entry.events.flatMap((event) =>
          event.kind === 'delivered' && event.clientId === clientId && event.message >= this.#log.head
            ? [{ time: event.time, message: event.message, direction: 'downlink' as const }]
            : [],
        ),
      );
    });
  }

  deliveries(message: bigint, clientId: string, window: TimeWindow) {
    return this.#log.journal.flatMap((entry) =>
      within(
        window,
        ('events' in entry ? entry.events : []).flatMap((event) =>
          event.kind === 'delivered' && event.clientId === clientId && event.message === message
            ? message >= this.#log.head
              ? [{ time: event.time, qos: event.qos }]
              : []
            : [],
        ),
      ),
    );
  }

  topicMessages(topic: string, window: TimeWindow) {
    return this.#log.messages.filter(
      (message) =>
        message.topic === topic && this.#isUplink(message.origin, message.id) && within(window, [message]).length > 0,
    );
  }

  connectionRecords(clientId: string, window: TimeWindow): ConnectionRecord[] {
    return this.#log.runs.flatMap(({ events }) =>
      within(
        window,
        events.filter((event): event is ConnectionRecord => event.kind !== 'delivered' && event.clientId === clientId),
      ),
    );
  }

  lastConnection(clientId: string): ConnectionRecord | undefined {
    const all = this.connectionRecords(clientId, { from: 0, to: Number.POSITIVE_INFINITY });
    return all.findLast((event) => event.kind === 'connected' && event.reason === 'normal');
  }

  #isUplink(origin: string, id: bigint): boolean {
    return ['coap', 'mqtt', 'rest'].includes(origin) && id >= this.#log.head;
  }
}

function within<Row extends { readonly time: number }>(window: TimeWindow, rows: readonly Row[]): readonly Row[] {
  return rows.filter(({ time }) => time >= window.from && time <= window.to);
}

function paged<Row>(rows: readonly Row[], page: PageOf): { rows: readonly Row[]; total: number } {
  const ordered = page.order === 'asc' ? rows : rows.toReversed();
  return { rows: ordered.slice(page.skip, page.skip + page.limit), total: rows.length };
}

const client = fc.constantFrom(...clients);
const origin = fc.constantFrom('coap', 'mqtt', 'rest', 'upstream', 'gateway');
const qos = fc.constantFrom<QoS>(0, 1, 2);

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('messages' as const),
      count: fc.integer({ min: 1, max: 120 }),
      from: fc.array(
        fc.record({ clientId: fc.option(client, { nil: '' }), topic: fc.constantFrom(...topics), origin }),
        {
          minLength: 1,
          maxLength: 4,
        },
      ),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('events' as const),
      events: fc.array(
        fc.record({
          kind: fc.constantFrom('connected', 'refused', 'disconnected', 'delivered', 'delivered'),
          clientId: client,
          back: fc.integer({ min: 1, max: 200 }),
          qos,
        }),
        { minLength: 1, maxLength: 12 },
      ),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('clock' as const), ms: fc.integer({ min: -90_000, max: 90_000 }) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('trickle' as const), count: fc.integer({ min: 1, max: 8 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('quality' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reboot' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('trim' as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(0, 200, 1_500) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('restart' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('kill' as const), lose: fc.integer({ min: 0, max: 12 }) }) },
);

const question = fc.record({
  clientId: client,
  topic: fc.constantFrom(...topics),
  from: fc.integer({ min: -20, max: 120 }),
  length: fc.oneof(fc.integer({ min: 0, max: 60 }), fc.constant(1_000_000)),
  skip: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 150 })),
  limit: fc.integer({ min: 1, max: 50 }),
  order: fc.constantFrom<'asc' | 'desc'>('asc', 'desc'),
  message: fc.double({ min: 0, max: 1, noNaN: true }),
});

async function check(
  { index }: Bench,
  log: FakeLog,
  asked: readonly (typeof question extends fc.Arbitrary<infer Q> ? Q : never)[],
) {
  const model = new Model(log);
  for (const { clientId, topic, from, length, message: share, ...page } of asked) {
    const window = { from: start + from * 1_000, to: start + (from + length) * 1_000 };
    expect(await index.messageRecords(clientId, window, page)).toEqual(
      paged(model.messageRecords(clientId, window), page),
    );
    expect(await index.connectionRecords(clientId, window, page)).toEqual(
      paged(model.connectionRecords(clientId, window), page),
    );
    expect(await index.lastConnection(clientId)).toEqual(model.lastConnection(clientId));
    const { total, messages } = await index.topicMessages(topic, window, page);
    expect({ rows: await all(messages), total }).toEqual(paged(model.topicMessages(topic, window), page));
    const journal = log.journal.flatMap((entry) => ('events' in entry ? [] : [entry]));
    const message = journal[Math.floor(share * journal.length)];
    if (message === undefined) continue;
    expect(await index.deliveries(message.id, clientId, window, page)).toEqual(
      paged(model.deliveries(message.id, clientId, window), page),
    );
    expect(await index.message(message.id)).toEqual(message.id >= log.head ? message : undefined);
  }
}

describe('the index', () => {
  it('answers as the log would, whatever happened to it', { timeout: 120_000 }, async () => {
    const size = fc.record({
      flushPostings: fc.constantFrom(5, 40, 300),
      flushWrites: fc.constantFrom(2, 100),
      sweepBlocks: fc.constantFrom(4, 50),
      sweepPostings: fc.constantFrom(20, 1_000),
    });
    await fc.assert(
      fc.asyncProperty(
        size,
        fc.array(step, { minLength: 3, maxLength: 25 }),
        fc.array(question, { minLength: 3, maxLength: 6 }),
        fc.boolean(),
        async (sizes, steps, asked, slow) => {
          const options: Partial<IndexOptions> = { ...sizes, flushInterval: 1_000 };
          const log = new FakeLog();
          log.slow = slow;
          let store = new MemoryStore();
          let bench = await started(store, log, options);
          let time = start;
          let quality: 'synced' | 'unsynced' = 'synced';
          for (const one of steps) {
            switch (one.do) {
              case 'messages':
                for (let n = 0; n < one.count; n++) {
                  log.append(one.from[n % one.from.length] ?? {}, time, quality);
                  time += 100;
                }
                break;
              case 'events': {
                const ids = log.journal.flatMap((entry) => ('events' in entry ? [] : [entry.id]));
                const events = one.events.flatMap(({ kind, clientId, back, qos: granted }): GatewayEvent[] => {
                  if (kind === 'connected') return [connected(clientId)];
                  if (kind === 'refused') return [connected(clientId, 'not_authorized')];
                  if (kind === 'disconnected') return [disconnected(clientId)];
                  const id = ids[Math.max(0, ids.length - back)];
                  return id === undefined ? [] : [delivered(id, clientId, granted)];
                });
                if (events.length > 0) log.record(events, time, quality);
                break;
              }
              case 'trickle':
                for (let n = 0; n < one.count; n++) {
                  const id = log.append({ clientId: clients[n % 2] ?? '', topic: topics[0] ?? '' }, time, quality);
                  log.record([connected(clients[0] ?? ''), delivered(id, clients[1] ?? '')], time, quality);
                  time += 100;
                  await pass(bench.clock, 1_000, 500);
                }
                break;
              case 'clock':
                time += one.ms;
                break;
              case 'quality':
                quality = quality === 'synced' ? 'unsynced' : 'synced';
                break;
              case 'reboot':
                log.reboot();
                break;
              case 'trim':
                log.trim(Math.floor(one.share * log.messages.length));
                break;
              case 'wait':
                await pass(bench.clock, one.ms);
                break;
              case 'restart':
                await stopped(bench);
                bench = await started(store, log, options);
                break;
              case 'kill':
                log.listeners.clear();
                store = store.afterPowerCut(one.lose);
                bench = await started(store, log, options);
                break;
            }
          }
          await pass(bench.clock, 300);
          await settle(bench.clock, 60);
          await check(bench, log, asked);
          await pass(bench.clock, 3_000);
          await check(bench, log, asked);
          expect(bench.health.active()).toEqual([]);
          expect(bench.metrics.value('holdfast_index_damages_total')).toBe(0);
          expect(bench.metrics.value('holdfast_index_lag_messages')).toBe(0);
          await stopped(bench);
        },
      ),
      { numRuns: Number(process.env.RUNS ?? 120) },
    );
  });
});
