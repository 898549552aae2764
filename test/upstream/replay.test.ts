import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Message, type Span, spanEnd } from '../../src/domain/index.ts';
import type { Log } from '../../src/log/index.ts';
import { Metrics, silentLogger } from '../../src/telemetry/index.ts';
import { Drainer, type DrainerDeps } from '../../src/upstream/drainer.ts';
import type { Gap } from '../../src/upstream/index.ts';
import { TopicMap } from '../../src/upstream/topic-map.ts';
import { UpstreamCounters } from '../../src/upstream/upstream-counters.ts';
import { makeLog, message, settle as settled } from '../log/support.ts';
import type { FakeClock } from '../support/fake-clock.ts';
import { MemoryNumberFile, MemoryStore } from '../support/memory-store.ts';
import { FakeLink, session } from './support/fake-link.ts';
import { replay, rule } from './support/harness.ts';

/** An upstream on a real log, whose link comes and goes. */
class Site {
  readonly store: MemoryStore;
  readonly gaps: Gap[] = [];
  readonly log: Log;
  readonly clock: FakeClock;
  readonly drainer: Drainer;
  readonly retained = new Map<string, bigint>();
  link = new FakeLink();

  constructor(given: Partial<DrainerDeps> = {}, store = new MemoryStore(), bootFile = new MemoryNumberFile()) {
    this.store = store;
    const { log, clock } = makeLog(store, { bootFile });
    this.log = log;
    this.clock = clock;
    this.drainer = new Drainer({
      name: 'cloud',
      gatewayId: 'gate1',
      log,
      topics: new TopicMap([rule()]),
      clock,
      logger: silentLogger,
      counters: new UpstreamCounters(new Metrics(), 'cloud'),
      age: (one) => log.age(one),
      random: () => 0.5,
      window: 4,
      ackTimeout: 30_000,
      replay: replay(),
      queueQos0: true,
      maxAge: Number.POSITIVE_INFINITY,
      retained: undefined,
      gapped: (gap) => this.gaps.push(gap),
      ...given,
    });
  }

  async start(): Promise<this> {
    await this.log.start();
    this.log.holdFor('cloud', { maxBytes: 1e9, maxRecords: 1e9, overflow: 'drop_oldest' });
    this.drainer.follow();
    await this.settle();
    return this;
  }

  settle = () => settled(this.clock);

  async append(...payloads: (string | Message)[]): Promise<void> {
    for (const one of payloads) {
      this.log.append(typeof one === 'string' ? message(one) : one, () => undefined);
    }
    await this.settle();
    this.clock.advance(200);
    await this.settle();
  }

  async up(): Promise<void> {
    this.link = new FakeLink();
    this.drainer.attach(this.link, session(), undefined);
    await this.settle();
  }

  async down(): Promise<void> {
    this.drainer.detach();
    await this.settle();
  }

  async ack(...payloads: string[]): Promise<void> {
    for (const payload of payloads) this.link.ack(this.link.payloads.indexOf(payload));
    await this.settle();
  }

  async ackAll(): Promise<void> {
    for (let at = 0; at < this.link.sent.length; at++) {
      this.link.ack(at);
      await this.settle();
    }
  }
}

const liveFirst = { replay: replay({ order: 'live_first' }) };

describe('replay', () => {
  it('sends the backlog at so many bytes a second', async () => {
    const site = await new Site({ replay: replay({ bytesRate: 1_000 }), window: 100 }).start();
    await site.append(...Array.from({ length: 20 }, (_, at) => `${at}`.padEnd(97, '.')));
    await site.up();
    for (let second = 0; second < 3; second++) {
      site.clock.advance(1_000);
      await site.settle();
    }
    const sent = site.link.sent.reduce((sum, { packet }) => sum + packet.topic.length + packet.payload.length, 0);
    expect(sent).toBeGreaterThanOrEqual(2_000);
    expect(sent).toBeLessThanOrEqual(3_100);
  });

  it('begins after a random part of the start delay, and what comes in meanwhile keeps its place', async () => {
    const site = await new Site({ replay: replay({ startDelay: 10_000 }) }).start();
    await site.append('1', '2');
    await site.up();
    await site.append('3');
    expect(site.link.payloads).toEqual([]);
    site.clock.advance(5_000);
    await site.settle();
    expect(site.link.payloads).toEqual(['1', '2', '3']);
  });

  it('needs no delay where nothing waits', async () => {
    const site = await new Site({ replay: replay({ startDelay: 10_000 }) }).start();
    await site.up();
    await site.append('1');
    expect(site.link.payloads).toEqual(['1']);
  });
});

describe('live_first', () => {
  it('lets what comes in overtake the backlog, which goes on with its share of the window', async () => {
    const site = await new Site(liveFirst).start();
    await site.append('1', '2', '3', '4', '5');
    await site.up();
    expect(site.link.payloads).toEqual(['1', '2']);
    await site.append('live');
    expect(site.link.payloads).toEqual(['1', '2', 'live']);
    await site.ack('1');
    expect(site.link.payloads).toEqual(['1', '2', 'live', '3']);
    await site.ackAll();
    expect(site.link.payloads).toEqual(['1', '2', 'live', '3', '4', '5']);
    expect(site.log.cursor('cloud')).toBe(site.log.next);
    expect(site.log.done('cloud')).toEqual([]);
  });

  it('leaves the backlog a place, however much comes in', async () => {
    const site = await new Site(liveFirst).start();
    await site.append('1', '2', '3');
    await site.up();
    await site.append(...Array.from({ length: 10 }, (_, at) => `live${at}`));
    await site.ack('1', '2');
    expect(site.link.payloads).toContain('3');
  });

  it('acknowledges the fresh message with the link’s acknowledgement, though a backlog waits', async () => {
    const site = await new Site(liveFirst).start();
    await site.append('1', '2', '3');
    await site.up();
    site.store.held = true;
    let acknowledged = false;
    site.log.append(message('live'), () => {
      acknowledged = true;
    });
    await site.settle();
    await site.ack('live');
    expect(acknowledged).toBe(true);
    site.store.release();
  });

  it('sends nothing again that was acknowledged out of turn, after a reconnect and after a restart', async () => {
    const store = new MemoryStore();
    const bootFile = new MemoryNumberFile();
    const site = await new Site(liveFirst, store, bootFile).start();
    await site.append('1', '2', '3', '4');
    await site.up();
    await site.append('live1', 'live2');
    await site.ack('live1', 'live2');
    await site.down();
    await site.append('5');
    await site.up();
    await site.append('live3');
    await site.ack('live3');
    await site.down();
    await site.log.stop();
    const again = await new Site(liveFirst, store, bootFile).start();
    await again.up();
    await again.ackAll();
    expect(again.link.payloads).toEqual(['1', '2', '3', '4', '5']);
    expect(again.log.queued('cloud').messages).toBe(0);
  });

  it('is taken back: in order again, without what was sent out of turn', async () => {
    const store = new MemoryStore();
    const bootFile = new MemoryNumberFile();
    const site = await new Site(liveFirst, store, bootFile).start();
    await site.append('1', '2');
    await site.up();
    await site.append('live');
    await site.ack('live');
    expect(site.log.queued('cloud').messages).toBe(2);
    await site.down();
    await site.append('3');
    await site.log.stop();
    const again = await new Site({}, store, bootFile).start();
    await again.up();
    await again.ackAll();
    expect(again.link.payloads).toEqual(['1', '2', '3']);
  });

  it('does not let an older message take a retained one’s place', async () => {
    const retained = new Map<string, bigint>();
    const site = await new Site({ ...liveFirst, retained: (topic) => retained.get(topic) }).start();
    await site.append(message('old', 't', { retain: true }), message('newer', 't', { retain: true }));
    await site.append(message('cleared', 'gone', { retain: true }));
    retained.set('t', site.log.next - 2n);
    await site.up();
    await site.ackAll();
    expect(site.link.sent.map(({ packet }) => [Buffer.from(packet.payload).toString(), packet.retain])).toEqual([
      ['old', false],
      ['newer', true],
      ['cleared', false],
    ]);
  });

  it('delivers everything once, in order within backlog and fresh, whatever the link does', async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('append' as const), count: fc.integer({ min: 1, max: 6 }) }),
      fc.record({ kind: fc.constant('ack' as const), picks: fc.array(fc.nat(9), { minLength: 1, maxLength: 6 }) }),
      fc.constant({ kind: 'down' as const }),
      fc.constant({ kind: 'up' as const }),
      fc.constant({ kind: 'restart' as const }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.constantFrom(1, 2, 4, 16), async (steps, window) => {
        const store = new MemoryStore();
        const bootFile = new MemoryNumberFile();
        const acknowledged: string[] = [];
        let unacknowledged = new Set<number>();
        let serial = 0;
        let losses = 0;
        let site = await new Site({ ...liveFirst, window }, store, bootFile).start();
        const settleSent = async (at: number) => {
          const payload = site.link.payloads[at];
          if (payload === undefined || unacknowledged.has(at)) return;
          unacknowledged.add(at);
          acknowledged.push(payload);
          site.link.ack(at);
          await site.settle();
        };
        for (const one of steps) {
          if (one.kind === 'append') {
            await site.append(...Array.from({ length: one.count }, () => `${serial++}`));
          } else if (one.kind === 'ack') {
            if (site.drainer.inFlight > 0) for (const pick of one.picks) await settleSent(pick);
          } else {
            await site.down();
            losses += 1;
            site.link = new FakeLink();
            unacknowledged = new Set();
            if (one.kind === 'up') await site.up();
            if (one.kind === 'restart') {
              await site.log.stop();
              site = await new Site({ ...liveFirst, window }, store, bootFile).start();
            }
          }
        }
        await site.up();
        unacknowledged = new Set();
        for (let at = 0; at < site.link.sent.length; at++) await settleSent(at);
        const last = site.link.payloads.map(Number);
        expect(new Set(acknowledged.map(Number))).toEqual(new Set(Array.from({ length: serial }, (_, at) => at)));
        expect(acknowledged.length - new Set(acknowledged).size).toBeLessThanOrEqual((losses + 1) * window);
        expect(last).toEqual([...last].sort((a, b) => a - b));
        expect(site.log.queued('cloud').messages).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
});

describe('rules of topics', () => {
  it('have an age of their own', async () => {
    const topics = new TopicMap([rule({ topic: 'short/#', maxAge: 10_000 }), rule()]);
    const site = await new Site({ topics, maxAge: 60_000 }).start();
    await site.append(message('s', 'short/1'), message('l', 'long/1'));
    site.clock.advance(30_000);
    await site.up();
    expect(site.link.payloads).toEqual(['l']);
    expect(site.gaps).toMatchObject([{ count: 1, reason: 'age' }]);
  });

  it('keep only the latest of each topic, found again after a restart', async () => {
    const topics = new TopicMap([rule({ topic: 'state/#', keep: 'latest' }), rule()]);
    const store = new MemoryStore();
    const bootFile = new MemoryNumberFile();
    const site = await new Site({ topics }, store, bootFile).start();
    for (let at = 0; at < 3; at++) await site.append(message(`a${at}`, 'state/a'), message(`e${at}`, 'event'));
    await site.append(message('b0', 'state/b'), message('b1', 'state/b', { qos: 0 }));
    await site.log.stop();
    const again = await new Site({ topics, window: 100 }, store, bootFile).start();
    await again.up();
    expect(again.link.payloads).toEqual(['e0', 'e1', 'a2', 'e2', 'b0', 'b1']);
    expect(again.gaps).toMatchObject([{ count: 2, reason: 'superseded' }]);
  });
});

describe('spans', () => {
  it('tell where an id lies', () => {
    const spans: Span[] = [
      { from: 3n, to: 5n },
      { from: 8n, to: 9n },
    ];
    expect([2n, 3n, 4n, 5n, 8n, 9n].map((id) => spanEnd(spans, id))).toEqual([
      undefined,
      5n,
      5n,
      undefined,
      9n,
      undefined,
    ]);
  });
});
