import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Metrics } from '../../src/telemetry/index.ts';
import { Drainer, type DrainerDeps } from '../../src/upstream/drainer.ts';
import type { Gap } from '../../src/upstream/index.ts';
import { TopicMap } from '../../src/upstream/topic-map.ts';
import { UpstreamCounters } from '../../src/upstream/upstream-counters.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeLink, session } from './support/fake-link.ts';
import { FakeLog } from './support/fake-log.ts';
import { FakeLogger, replay, rule } from './support/harness.ts';

function setUp(given: Partial<DrainerDeps> = {}) {
  const clock = new FakeClock();
  const log = new FakeLog(() => clock.monotonic());
  log.moveCursor('cloud', log.head);
  const metrics = new Metrics();
  const gaps: Gap[] = [];
  const logger = new FakeLogger();
  const drainer = new Drainer({
    name: 'cloud',
    gatewayId: 'gate1',
    log,
    topics: new TopicMap([rule()]),
    clock,
    logger,
    counters: new UpstreamCounters(metrics, 'cloud'),
    age: (message) => clock.monotonic() - message.monotonic,
    random: () => 0.5,
    window: 4,
    ackTimeout: 30_000,
    replay: replay(),
    retained: undefined,
    queueQos0: true,
    maxAge: Number.POSITIVE_INFINITY,
    gapped: (gap) => gaps.push(gap),
    ...given,
  });
  drainer.follow();
  const value = (name: string, labels = {}) =>
    metrics.value(`holdfast_upstream_${name}_total`, { upstream: 'cloud', ...labels });
  /** Lets what was put off to the next turn happen, promises included. */
  const settle = async () => {
    for (let turn = 0; turn < 5; turn++) {
      clock.advance(0);
      await Promise.resolve();
      await Promise.resolve();
    }
  };
  return { clock, log, drainer, gaps, logger, value, settle };
}

const cursorOf = (log: FakeLog) => Number((log.cursor('cloud') ?? 0n) & 0xffffffn);

describe('the drainer', () => {
  it.each([false, true])('sends in log order with at most a window unacknowledged (slow log: %s)', async (slow) => {
    const { log, drainer, settle } = setUp();
    log.slow = slow;
    log.appendMany(10);
    const link = new FakeLink();
    drainer.attach(link, session(), undefined);
    await settle();
    expect(link.payloads).toEqual(['p1', 'p2', 'p3', 'p4']);
    link.ack(0);
    link.ack(1);
    await settle();
    expect(link.payloads).toEqual(['p1', 'p2', 'p3', 'p4', 'p5', 'p6']);
    expect(cursorOf(log)).toBe(3);
    link.eager = true;
    for (let at = 2; at < 6; at++) link.ack(at);
    await settle();
    expect(link.payloads).toEqual(Array.from({ length: 10 }, (_, at) => `p${at + 1}`));
    expect(log.cursor('cloud')).toBe(log.next);
  });

  it('moves the cursor only along the contiguous prefix, and sends at most a window again', async () => {
    const { log, drainer, settle, value } = setUp();
    log.appendMany(10);
    const first = new FakeLink();
    drainer.attach(first, session(), undefined);
    await settle();
    first.ack(1);
    first.ack(2);
    first.ack(3);
    await settle();
    expect(cursorOf(log)).toBe(1);
    expect(first.sent.length).toBe(4);
    drainer.detach();
    expect(cursorOf(log)).toBe(1);
    const second = new FakeLink();
    second.eager = true;
    drainer.attach(second, session(), undefined);
    await settle();
    expect(second.payloads).toEqual(Array.from({ length: 10 }, (_, at) => `p${at + 1}`));
    expect(second.sent[0]?.packet.properties).toEqual(first.sent[0]?.packet.properties);
    expect(value('acknowledged')).toBe(13);
  });

  it('answers a single acknowledgement at a full window with the next message, and does not wait for more', async () => {
    const { log, drainer, settle } = setUp({ window: 64 });
    log.appendMany(100);
    const link = new FakeLink();
    drainer.attach(link, session(), undefined);
    await settle();
    expect(link.sent.length).toBe(64);
    link.ack(0);
    await settle();
    expect(link.sent.length).toBe(65);
  });

  it('does not heed an acknowledgement that comes after the link is gone', async () => {
    const { log, drainer, settle } = setUp();
    log.appendMany(2);
    const first = new FakeLink();
    drainer.attach(first, session(), undefined);
    await settle();
    drainer.detach();
    const second = new FakeLink();
    drainer.attach(second, session(), undefined);
    await settle();
    first.ack(0);
    first.ack(1);
    await settle();
    expect(cursorOf(log)).toBe(1);
  });

  it('keeps within the Receive Maximum of the broker', async () => {
    const { log, drainer, settle } = setUp({ window: 64 });
    log.appendMany(10);
    const link = new FakeLink();
    drainer.attach(link, session({ receiveMaximum: 3 }), undefined);
    await settle();
    expect(link.sent.length).toBe(3);
    expect(drainer.inFlight).toBe(3);
  });

  it('sends what is committed later', async () => {
    const { log, drainer, settle } = setUp();
    const link = new FakeLink();
    link.eager = true;
    drainer.attach(link, session(), undefined);
    await settle();
    log.slow = true;
    log.append();
    log.append();
    await settle();
    log.append();
    await settle();
    expect(link.payloads).toEqual(['p1', 'p2', 'p3']);
  });

  it('passes over what is not for this upstream, with the cursor following', async () => {
    const { log, drainer, settle } = setUp({ topics: new TopicMap([rule({ topic: 'a/#' })]) });
    log.append({ topic: 'b' });
    log.append({ topic: 'a/1', origin: 'upstream', upstream: 'cloud' });
    log.append({ topic: 'a/1', origin: 'upstream', upstream: 'other' });
    log.other();
    log.append({ topic: 'b' });
    log.other();
    const link = new FakeLink();
    drainer.attach(link, session(), undefined);
    await settle();
    expect(link.payloads).toEqual(['p3']);
    expect(cursorOf(log)).toBe(3);
    link.ack(0);
    await settle();
    expect(log.cursor('cloud')).toBe(log.next);
  });

  it('looks at a long stretch of filtered messages piece by piece', async () => {
    const { log, drainer, settle, clock } = setUp({ topics: new TopicMap([rule({ topic: 'a' })]) });
    log.appendMany(2_000, (at) => ({ topic: at === 1_999 ? 'a' : 'b' }));
    const link = new FakeLink();
    drainer.attach(link, session(), undefined);
    await settle();
    expect(link.payloads).toEqual(['p2000']);
    expect(cursorOf(log)).toBe(2_000);
    expect(clock.armed).toEqual(['upstream ack timeout']);
  });

  it('sends identity, origin, time and the rest of the expiry to MQTT 5, and none of it to 3.1.1', async () => {
    const { log, drainer, settle, clock } = setUp();
    log.append({ expiry: 60, monotonic: 0 });
    clock.advance(10_000);
    const link = new FakeLink();
    drainer.attach(link, session(), undefined);
    await settle();
    expect(link.sent[0]?.packet.properties).toEqual({
      messageExpiryInterval: 50,
      userProperties: {
        'message-id': 'gate1:0000010000000001',
        'client-id': 'dev1@app',
        ts: '1700000000000',
        'ts-quality': 'synced',
      },
    });
    const old = new FakeLink();
    drainer.attach(old, session({}, { protocol: '3.1.1' }), undefined);
    await settle();
    expect(old.sent[0]?.packet.properties).toBeUndefined();
  });

  it('skips and counts what has expired', async () => {
    const { log, drainer, settle, clock, value } = setUp();
    log.append({ expiry: 5 });
    log.append({ expiry: 50 });
    clock.advance(5_000);
    const link = new FakeLink();
    link.eager = true;
    drainer.attach(link, session(), undefined);
    await settle();
    expect(link.payloads).toEqual(['p2']);
    expect(value('expired')).toBe(1);
    expect(log.cursor('cloud')).toBe(log.next);
  });

  it('sends at the lower of the QoS of message, rule and broker, and without retain where the broker has none', async () => {
    const { log, drainer, settle } = setUp({ topics: new TopicMap([rule({ topic: 'a', qos: 2 }), rule({ qos: 1 })]) });
    log.append({ topic: 'a', qos: 2, retain: true });
    log.append({ topic: 'b', qos: 2 });
    log.append({ topic: 'a', qos: 0 });
    const link = new FakeLink();
    drainer.attach(link, session({ maximumQos: 1, retain: false }), undefined);
    await settle();
    expect(link.sent.map(({ packet }) => [packet.qos, packet.retain])).toEqual([
      [1, false],
      [1, false],
      [0, false],
    ]);
  });

  it('gives up what is refused for good, once, counted by reason', async () => {
    const { log, drainer, settle, value, logger } = setUp();
    log.appendMany(3);
    const link = new FakeLink();
    drainer.attach(link, session(), undefined);
    await settle();
    for (let at = 0; at < 3; at++) link.ack(at, 0x87);
    await settle();
    expect(log.cursor('cloud')).toBe(log.next);
    expect(value('refused', { reason: '0x87' })).toBe(3);
    expect(logger.lines.length).toBe(1);
  });

  it('gives up what is above the Maximum Packet Size of the broker without sending it', async () => {
    const { log, drainer, settle, value } = setUp();
    log.append({ payload: Buffer.alloc(1_000) });
    log.append();
    const link = new FakeLink();
    link.eager = true;
    drainer.attach(link, session({ maximumPacketSize: 500 }), undefined);
    await settle();
    expect(link.payloads).toEqual(['p2']);
    expect(value('refused', { reason: 'packet_too_large' })).toBe(1);
    expect(log.cursor('cloud')).toBe(log.next);
  });

  it('holds off when a quota is exceeded, then sends that message again', async () => {
    const { log, drainer, settle, clock } = setUp();
    log.appendMany(5);
    const link = new FakeLink();
    drainer.attach(link, session(), undefined);
    await settle();
    link.ack(0, 0x97);
    link.ack(1);
    await settle();
    expect(link.sent.length).toBe(4);
    expect(cursorOf(log)).toBe(1);
    clock.advance(500);
    await settle();
    expect(link.payloads).toEqual(['p1', 'p2', 'p3', 'p4', 'p1']);
    link.ack(4);
    await settle();
    expect(link.payloads.at(-1)).toBe('p5');
    expect(cursorOf(log)).toBe(3);
    expect(link.ended).toBeUndefined();
  });

  it('ends a link that owes an acknowledgement for too long', async () => {
    const { log, drainer, settle, clock } = setUp();
    log.appendMany(2);
    const link = new FakeLink();
    drainer.attach(link, session(), undefined);
    await settle();
    clock.advance(20_000);
    link.ack(0);
    clock.advance(20_000);
    expect(link.ended).toBe('no acknowledgement for 30000 ms');
  });

  it('does not end a link that owes nothing', async () => {
    const { drainer, settle, clock } = setUp();
    const link = new FakeLink();
    drainer.attach(link, session(), undefined);
    await settle();
    clock.advance(100_000);
    expect(link.ended).toBeUndefined();
    drainer.detach();
    expect(clock.armed).toEqual([]);
  });

  it('replays the backlog at the configured rate, and what is fresh without a limit', async () => {
    const { log, drainer, settle, clock } = setUp({ replay: replay({ rate: 10 }), window: 100 });
    log.appendMany(5);
    const link = new FakeLink();
    link.eager = true;
    drainer.attach(link, session(), undefined);
    await settle();
    expect(link.sent.length).toBe(1);
    log.appendMany(20);
    await settle();
    expect(link.sent.length).toBe(1);
    for (let at = 0; at < 4; at++) {
      clock.advance(100);
      await settle();
      if (at < 3) expect(link.sent.length).toBe(2 + at);
    }
    expect(link.sent.length).toBe(25);
  });

  it('drops QoS 0 of the backlog where it shall not be queued', async () => {
    const { log, drainer, settle, gaps } = setUp({ queueQos0: false });
    log.append({ qos: 0 });
    const link = new FakeLink();
    drainer.attach(link, session(), undefined);
    await settle();
    log.append({ qos: 0 });
    await settle();
    expect(link.payloads).toEqual(['p2']);
    expect(gaps).toMatchObject([{ count: 1, reason: 'qos0' }]);
  });

  it('skips what was trimmed away, and tells of the gap', async () => {
    const { log, drainer, settle, gaps } = setUp();
    log.appendMany(10);
    log.trim(log.head + 6n);
    const link = new FakeLink();
    link.eager = true;
    drainer.attach(link, session(), undefined);
    await settle();
    expect(link.payloads).toEqual(['p7', 'p8', 'p9', 'p10']);
    expect(gaps).toEqual([{ from: log.head - 6n, to: log.head, count: 6, reason: 'trimmed' }]);
    expect(log.cursor('cloud')).toBe(log.next);
  });

  it('jumps to where the log moved the cursor, which has told of it', async () => {
    const { log, drainer, settle, gaps } = setUp();
    log.appendMany(5_000);
    const link = new FakeLink();
    drainer.attach(link, session(), undefined);
    await settle();
    log.moveCursor('cloud', log.head + 4_900n);
    link.eager = true;
    for (let at = 0; at < 4; at++) link.ack(at);
    await settle();
    expect(link.sent.length).toBeLessThan(1_300);
    expect(link.payloads.at(-1)).toBe('p5000');
    expect(gaps).toEqual([]);
    expect(log.cursor('cloud')).toBe(log.next);
  });

  it('tells of damaged records', async () => {
    const { log, drainer, settle, gaps } = setUp();
    log.appendMany(3);
    log.damage(log.head + 1n);
    const link = new FakeLink();
    link.eager = true;
    drainer.attach(link, session(), undefined);
    await settle();
    expect(link.payloads).toEqual(['p1', 'p3']);
    expect(gaps).toMatchObject([{ count: 1, reason: 'damaged' }]);
  });

  it('tries again when the log cannot be read', async () => {
    const { log, drainer, settle, clock } = setUp();
    log.appendMany(2);
    const read = log.read.bind(log);
    log.read = () => Promise.reject(new Error('disk'));
    const link = new FakeLink();
    drainer.attach(link, session(), undefined);
    await settle();
    log.read = read;
    clock.advance(1_000);
    await settle();
    expect(link.payloads).toEqual(['p1', 'p2']);
  });

  it('sends nothing more once it is to come to rest', async () => {
    const { log, drainer, settle } = setUp();
    log.appendMany(6);
    const link = new FakeLink();
    drainer.attach(link, session(), undefined);
    await settle();
    let rested = 0;
    drainer.quiesce(() => {
      rested += 1;
    });
    for (let at = 0; at < 4; at++) link.ack(at);
    await settle();
    expect(rested).toBe(1);
    expect(link.sent.length).toBe(4);
    expect(cursorOf(log)).toBe(5);
  });
});

describe('whatever happens, the drainer', () => {
  const action = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constant('append' as const), count: fc.integer({ min: 1, max: 9 }) }),
    },
    { weight: 8, arbitrary: fc.record({ kind: fc.constant('ack' as const), at: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('refuse' as const), at: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('quota' as const), at: fc.nat() }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('pass time' as const), ms: fc.nat(2_000) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('reconnect' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('other' as const) }) },
  );

  it('keeps the window, the order of first sending, and the cursor below what is open, and sends all in the end', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(action, { maxLength: 120 }),
        fc.boolean(),
        fc.constantFrom(1, 4, 32),
        async (actions, slow, window) => {
          const { log, drainer, settle, clock } = setUp({ window, topics: new TopicMap([rule({ topic: 't/+' })]) });
          log.slow = slow;
          const wanted: string[] = [];
          const first: string[] = [];
          const acked = new Set<string>();
          let link = new FakeLink();
          let open: number[] = [];
          let seen = 0;
          const look = async () => {
            await settle();
            for (; seen < link.sent.length; seen++) {
              open.push(seen);
              const text = link.payloads[seen] ?? '';
              if (!first.includes(text)) first.push(text);
            }
            expect(drainer.inFlight).toBeLessThanOrEqual(window);
            const cursor = cursorOf(log);
            for (const text of wanted) if (!acked.has(text)) expect(cursor).toBeLessThanOrEqual(Number(text.slice(1)));
          };
          const answer = (at: number, code: number) => {
            const [which] = open.splice(at % Math.max(1, open.length), 1);
            if (which === undefined) return;
            if (code !== 0x97) acked.add(link.payloads[which] ?? '');
            link.ack(which, code);
          };
          const renew = () => {
            drainer.detach();
            link = new FakeLink();
            open = [];
            seen = 0;
            drainer.attach(link, session(), undefined);
          };
          renew();
          for (const one of actions) {
            if (one.kind === 'append') {
              for (let at = 0; at < one.count; at++) {
                const topic = at % 3 === 2 ? 'x' : 't/1';
                const id = log.append({ topic }, false);
                if (topic === 't/1') wanted.push(`p${id & 0xffffffn}`);
              }
              log.commit();
            } else if (one.kind === 'ack') answer(one.at, 0);
            else if (one.kind === 'refuse') answer(one.at, 0x87);
            else if (one.kind === 'quota') answer(one.at, 0x97);
            else if (one.kind === 'pass time') clock.advance(one.ms);
            else if (one.kind === 'reconnect') renew();
            else log.other();
            await look();
          }
          renew();
          link.eager = true;
          await settle();
          clock.advance(60_000);
          await settle();
          for (const text of link.payloads) if (!first.includes(text)) first.push(text);
          expect(first).toEqual(wanted);
          expect(log.cursor('cloud')).toBe(log.next);
          drainer.detach();
          expect(clock.armed).toEqual([]);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('gives up what has waited for longer than it may, counts it, and announces it as one gap', async () => {
    const { log, drainer, gaps, settle, clock } = setUp({ maxAge: 60_000 });
    log.appendMany(3);
    clock.advance(60_001);
    log.append({});
    const link = new FakeLink();
    drainer.attach(link, session(), undefined);
    await settle();
    expect(link.payloads).toEqual(['p4']);
    expect(gaps.map(({ from, to, count, reason }) => [to - from, count, reason])).toEqual([[3n, 3, 'age']]);
    link.ack(0);
    await settle();
    expect(log.cursor('cloud')).toBe(log.next);
  });
});
