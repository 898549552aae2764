import { describe, expect, it } from 'vitest';
import type { UpstreamOptions } from '../../src/upstream/index.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { until } from './support/broker.ts';
import { fakeConnector, session } from './support/fake-link.ts';
import { FakeLog } from './support/fake-log.ts';
import { FakeLogger, harness, rule } from './support/harness.ts';

const end = (reason: string, dialect?: 'refused' | 'closed', code?: number) => ({ reason, dialect, code });

async function started(given: Partial<UpstreamOptions> = {}) {
  const clock = new FakeClock();
  const logger = new FakeLogger();
  const { links, connect } = fakeConnector();
  const h = harness({ backoff: { base: 1_000, cap: 8_000 }, ...given }, { clock, logger, connect, random: () => 0.5 });
  await h.upstream.start();
  const link = async (at: number) => {
    await until(() => links[at] !== undefined, `link ${at}`);
    return links[at] as (typeof links)[number];
  };
  return { ...h, clock, logger, links, link };
}

describe('an upstream', () => {
  it('tries its URLs in order with growing waits, and logs a reason once', async () => {
    const { upstream, link, clock, logger, health } = await started({ urls: ['mqtt://a', 'mqtt://u:secret@b'] });
    for (let at = 0; at < 4; at++) {
      const one = await link(at);
      expect(one.target?.url).toBe(at % 2 === 0 ? 'mqtt://a' : 'mqtt://u:secret@b');
      one.events?.down(end('ECONNREFUSED'));
      expect(upstream.status()).toMatchObject({ state: 'waiting', lastError: 'ECONNREFUSED' });
      clock.advance(500 * 2 ** at);
    }
    expect(logger.lines.length).toBe(1);
    expect(JSON.stringify([logger.lines, upstream.status()])).not.toContain('secret');
    expect(health.active()).toEqual([]);
    clock.advance(60_000);
    expect(health.active()).toMatchObject([{ code: 'upstream_down', severity: 'degraded' }]);
    (await link(4)).events?.up(session());
    expect(health.active()).toEqual([]);
    expect(upstream.status()).toMatchObject({ state: 'connected', protocol: '5', lastError: undefined });
    await Promise.all([upstream.stop(), tick(clock)]);
    expect(clock.armed).toEqual([]);
  });

  it('speaks 3.1.1 at once to a broker that refuses MQTT 5, and remembers it', async () => {
    const { link, clock, upstream, links } = await started();
    (await link(0)).events?.down(end('refused', 'refused', 0x84));
    (await link(1)).events?.down(end('closed', 'closed'));
    const third = await link(2);
    expect(links.map((one) => one.target?.dialect)).toEqual(['5', '3.1.1-bridge', '3.1.1']);
    third.events?.up(session({}, { protocol: '3.1.1' }));
    third.abort('lost');
    clock.advance(10_000);
    expect((await link(3)).target?.dialect).toBe('3.1.1');
    await upstream.stop();
  });

  it('returns to the first URL after a link that held, and to the next after one that did not', async () => {
    const { link, clock, upstream } = await started({ urls: ['mqtt://a', 'mqtt://b', 'mqtt://c'] });
    (await link(0)).events?.down(end('x'));
    clock.advance(10_000);
    const second = await link(1);
    second.events?.up(session());
    second.abort('lost soon');
    clock.advance(10_000);
    const third = await link(2);
    expect(third.target?.url).toBe('mqtt://c');
    third.events?.up(session());
    clock.advance(10_000);
    third.abort('lost');
    clock.advance(10_000);
    expect((await link(3)).target?.url).toBe('mqtt://a');
    await upstream.stop();
  });

  it('begins with what is logged from its first start, or with all that is held', async () => {
    for (const startFrom of ['newest', 'oldest'] as const) {
      const log = new FakeLog();
      log.appendMany(3);
      const { connect, links } = fakeConnector();
      const clock = new FakeClock();
      const { upstream } = harness({ startFrom }, { clock, log, connect });
      await upstream.start();
      expect(upstream.status().queuedMessages).toBe(startFrom === 'newest' ? 0 : 3);
      log.append();
      await until(() => links.length === 1);
      links[0]?.events?.up(session());
      clock.advance(0);
      const [status, ...rest] = links[0]?.payloads ?? [];
      expect(status).toContain('"state":"online"');
      expect(rest).toEqual(startFrom === 'newest' ? ['p4'] : ['p1', 'p2', 'p3', 'p4']);
      await Promise.all([upstream.stop(), tick(clock)]);
      expect(log.listeners).toBe(0);
    }
  });

  it('announces a gap on its status topic', async () => {
    const { link, clock, upstream, log, metrics } = await started({ startFrom: 'oldest' });
    const one = await link(0);
    log.appendMany(5);
    log.trim(log.head + 2n);
    one.events?.up(session());
    clock.advance(2_000);
    const statuses = one.sent.filter(({ packet }) => packet.topic === 'holdfast/gw-7/status');
    expect(JSON.parse(Buffer.from(statuses.at(-1)?.packet.payload ?? []).toString())).toMatchObject({
      state: 'online',
      gateway: 'gate1',
      lost: { trimmed: 2 },
      gaps: [{ from: '0000010000000001', to: '0000010000000003', count: 2, reason: 'trimmed' }],
    });
    expect(metrics.value('holdfast_upstream_dropped_total', { upstream: 'cloud', reason: 'trimmed' })).toBe(2);
    await Promise.all([upstream.stop(), tick(clock)]);
  });

  it('gives up its retained will where the broker refuses one', async () => {
    const { link, upstream } = await started();
    const one = await link(0);
    expect(one.target?.will.retain).toBe(true);
    one.events?.down(end('retain not supported', undefined, 0x9a));
    expect((await link(1)).target?.will.retain).toBe(false);
    await upstream.stop();
  });

  it('says offline, waits for what is in flight, and stops within its grace', async () => {
    const { link, clock, upstream, log } = await started();
    log.appendMany(2);
    const one = await link(0);
    one.events?.up(session());
    clock.advance(0);
    const stopped = upstream.stop();
    one.ack(1);
    one.ack(2);
    await until(() => one.payloads.at(-1)?.includes('"state":"offline"') === true, 'offline was said');
    one.ack(one.sent.length - 1);
    await stopped;
    expect(one.ended).toBe('disconnected');
    expect(log.cursor('cloud')).toBe(log.next);
    expect([upstream.status().state, clock.armed]).toEqual(['stopped', []]);
  });

  it('stops though nothing is answered, and though it never started', async () => {
    const { link, clock, upstream, log } = await started();
    log.append();
    (await link(0)).events?.up(session());
    clock.advance(0);
    await Promise.all([upstream.stop(), tick(clock)]);
    expect(clock.armed).toEqual([]);
    await upstream.stop();
    await harness().upstream.stop();
  });

  it('takes a burst of downlinks from a broker that sends as many at once as it likes', async () => {
    const { link, sink, upstream, clock } = await started({ rules: [rule({ direction: 'in', topic: 'cmd/#' })] });
    const stored: (() => void)[] = [];
    sink.answer = (_message, done) => void stored.push(() => done(undefined, 1n));
    const one = await link(0);
    one.events?.up(session({}, { protocol: '3.1.1' }));
    let acknowledged = 0;
    const incoming = { topic: 'cmd/go', payload: Buffer.from('x'), qos: 1, retain: false, expiry: 0 } as const;
    for (let n = 0; n < 1_024; n++) one.events?.received(incoming, () => (acknowledged += 1));
    expect(acknowledged).toBe(0);
    for (const done of stored) done();
    expect([acknowledged, one.ended]).toEqual([1_024, undefined]);
    await Promise.all([upstream.stop(), tick(clock)]);
  });

  it('subscribes anew for each MQTT 5 link, and with 3.1.1 only where the session is new', async () => {
    const { link, clock, upstream } = await started({ rules: [rule({ direction: 'in', topic: 'cmd/#', qos: 2 })] });
    const one = await link(0);
    one.events?.up(session({}, { protocol: '3.1.1' }));
    expect(one.filters).toEqual(['cmd/#']);
    one.abort('lost');
    clock.advance(10_000);
    const two = await link(1);
    two.events?.up(session({}, { protocol: '3.1.1', sessionPresent: true }));
    expect(two.filters).toEqual([]);
    two.abort('lost');
    clock.advance(10_000);
    const three = await link(2);
    three.events?.up(session({}, { sessionPresent: true }));
    expect(three.filters).toEqual(['cmd/#']);
    await Promise.all([upstream.stop(), tick(clock)]);
  });
});

/** Lets the grace of a stop pass, once per step that waits. */
async function tick(clock: FakeClock): Promise<void> {
  for (let at = 0; at < 4; at++) {
    await new Promise(setImmediate);
    clock.advance(1_000);
  }
}
