import { describe, expect, it } from 'vitest';
import { HoldfastError } from '../../src/base/index.ts';
import { Metrics } from '../../src/telemetry/index.ts';
import { Downlink } from '../../src/upstream/downlink.ts';
import { EchoFilter } from '../../src/upstream/echo-filter.ts';
import { TopicMap } from '../../src/upstream/topic-map.ts';
import { UpstreamCounters } from '../../src/upstream/upstream-counters.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeLogger, FakeSink, rule } from './support/harness.ts';

function setUp(echo?: EchoFilter) {
  const clock = new FakeClock();
  const sink = new FakeSink();
  const metrics = new Metrics();
  const downlink = new Downlink({
    name: 'cloud',
    topics: new TopicMap([rule({ topic: 'cmd/#', direction: 'in', remotePrefix: 'site7/' })]),
    sink,
    clock,
    logger: new FakeLogger(),
    counters: new UpstreamCounters(metrics, 'cloud'),
    random: () => 0.5,
    maxMessages: 4,
    maxBytes: 1_000,
  });
  const aborted: string[] = [];
  downlink.opened({ echo, abort: (reason) => aborted.push(reason) });
  const acked: string[] = [];
  const receive = (payload: string, qos: 0 | 1 = 1, topic = 'site7/cmd/go') =>
    downlink.received({ topic, payload: Buffer.from(payload), qos, retain: false, expiry: 7 }, () =>
      acked.push(payload),
    );
  const dropped = (reason: string) =>
    metrics.value('holdfast_upstream_downlinks_dropped_total', { upstream: 'cloud', reason });
  return { clock, sink, downlink, aborted, acked, receive, dropped };
}

describe('a downlink', () => {
  it('is acknowledged when the log has it, in the order they came', () => {
    const { sink, acked, receive } = setUp();
    const dones: (() => void)[] = [];
    sink.answer = (_message, done) => void dones.push(() => done(undefined, 1n));
    receive('a');
    receive('b');
    expect(acked).toEqual([]);
    dones[1]?.();
    expect(acked).toEqual([]);
    dones[0]?.();
    expect(acked).toEqual(['a', 'b']);
  });

  it('enters under its local topic, with its origin and expiry', () => {
    const { sink, receive } = setUp();
    receive('a');
    expect(sink.taken).toMatchObject([
      { topic: 'cmd/go', qos: 1, expiry: 7, origin: 'upstream', upstream: 'cloud', clientId: '' },
    ]);
  });

  it('waits while the log is full, is tried again, and is never acknowledged before', () => {
    const { clock, sink, acked, receive, downlink } = setUp();
    const take = sink.answer;
    sink.answer = (_message, done) => done(new HoldfastError('store_full', 'full'));
    receive('a');
    receive('b');
    clock.advance(10_000);
    expect(acked).toEqual([]);
    sink.answer = take;
    clock.advance(10_000);
    expect(acked).toEqual(['a', 'b']);
    expect(sink.taken.length).toBe(2);
    expect([downlink.waiting, clock.armed.length]).toEqual([0, 0]);
  });

  it('is given up, and acknowledged, where the log will never take it', () => {
    const { sink, acked, receive, dropped } = setUp();
    sink.answer = (_message, done) => done(new HoldfastError('payload_too_large', 'big'));
    receive('a');
    expect(acked).toEqual(['a']);
    expect(dropped('payload_too_large')).toBe(1);
  });

  it('beyond the bound is left to the broker, and fetched by a reconnect once there is room', () => {
    const { clock, sink, acked, receive, aborted, dropped } = setUp();
    const take = sink.answer;
    sink.answer = (_message, done) => done(new HoldfastError('store_full', 'full'));
    for (const text of ['a', 'b', 'c', 'd', 'e']) receive(text);
    receive('zero', 0);
    expect(dropped('overload')).toBe(1);
    sink.answer = take;
    clock.advance(10_000);
    expect(acked).toEqual(['a', 'b', 'c', 'd']);
    expect(aborted.length).toBe(1);
  });

  it('that no rule takes is acknowledged and counted', () => {
    const { acked, receive, sink, dropped } = setUp();
    receive('a', 1, 'site8/cmd/go');
    expect([acked, sink.taken, dropped('no_rule')]).toEqual([['a'], [], 1]);
  });

  it('that is our own message come back is acknowledged and goes nowhere', () => {
    const echo = new EchoFilter();
    const { acked, receive, sink } = setUp(echo);
    echo.sent('site7/cmd/go', Buffer.from('a'), 0);
    receive('a');
    receive('a');
    expect(acked).toEqual(['a', 'a']);
    expect(sink.taken.length).toBe(1);
  });

  it('is forgotten with the link, for the broker sends it again', () => {
    const { clock, sink, acked, receive, downlink } = setUp();
    sink.answer = (_message, done) => done(new HoldfastError('store_full', 'full'));
    receive('a');
    downlink.closed();
    clock.advance(60_000);
    expect([acked, downlink.waiting, clock.armed]).toEqual([[], 0, []]);
  });
});
