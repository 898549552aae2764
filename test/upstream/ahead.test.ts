import { describe, expect, it } from 'vitest';
import type { Message } from '../../src/domain/index.ts';
import { Metrics, silentLogger } from '../../src/telemetry/index.ts';
import { Drainer } from '../../src/upstream/drainer.ts';
import { TopicMap } from '../../src/upstream/topic-map.ts';
import { UpstreamCounters } from '../../src/upstream/upstream-counters.ts';
import { makeLog, message, settle as settled } from '../log/support.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { FakeLink, session } from './support/fake-link.ts';
import { replay, rule } from './support/harness.ts';

/** Upstreams on a real log, each with a link that is up. */
async function setUp(...topics: string[]) {
  const store = new MemoryStore();
  const { log, clock } = makeLog(store);
  await log.start();
  const settle = () => settled(clock);
  const upstreams = topics.map((topic, index) => {
    const name = `cloud${index}`;
    log.moveCursor(name, log.next);
    const drainer = new Drainer({
      name,
      gatewayId: 'gate1',
      log,
      topics: new TopicMap([rule({ topic })]),
      clock,
      logger: silentLogger,
      counters: new UpstreamCounters(new Metrics(), name),
      age: (one) => log.age(one),
      random: () => 0.5,
      window: 3,
      ackTimeout: 30_000,
      replay: replay(),
      retained: undefined,
      queueQos0: true,
      maxAge: Number.POSITIVE_INFINITY,
      gapped: () => undefined,
    });
    drainer.follow();
    const link = new FakeLink();
    drainer.attach(link, session(), undefined);
    return { drainer, link, name };
  });
  await settle();
  const told: string[] = [];
  const append = (payload: string, topic = 'a', changes: Partial<Message> = {}) =>
    log.append(message(payload, topic, changes), (error) =>
      told.push(`${payload}${error === undefined ? '' : ' failed'}`),
    );
  const [first, second] = upstreams;
  if (first === undefined) throw new Error('no upstream');
  return { store, log, clock, settle, told, append, first, second };
}

describe('with the link up and nothing waiting', () => {
  it('a message is sent before it is on the disk, and its acknowledgement is enough', async () => {
    const { append, first, settle, told, store, log, clock } = await setUp('#');
    const before = store.count('c');
    append('one');
    append('two');
    await settle();
    expect([first.link.payloads, store.count('c') - before, told]).toEqual([['one', 'two'], 0, []]);
    first.link.ack(1);
    expect(told).toEqual(['two']);
    first.link.ack(0);
    await settle();
    expect(told).toEqual(['two', 'one']);
    expect(log.cursor('cloud0')).toBe(log.next + 2n);
    clock.advance(500);
    await settle();
    expect([store.count('c') - before, log.cursor('cloud0') === log.next]).toEqual([1, true]);
    append('three');
    await settle();
    expect(first.link.payloads).toEqual(['one', 'two', 'three']);
  });

  it('it counts as delivered once every upstream that wants it has it', async () => {
    const { append, first, second, settle, told } = await setUp('#', 'b/#');
    append('for one', 'a');
    append('for both', 'b/c');
    await settle();
    first.link.ack(0);
    first.link.ack(1);
    expect(told).toEqual(['for one']);
    second?.link.ack(0);
    expect(told).toEqual(['for one', 'for both']);
  });

  it('what does not fit the window goes to the disk, and is sent from there', async () => {
    const { append, first, settle, told } = await setUp('#');
    for (const payload of ['1', '2', '3', '4']) append(payload);
    await settle();
    expect([first.link.payloads, told]).toEqual([
      ['1', '2', '3'],
      ['1', '2', '3', '4'],
    ]);
    first.link.ack(0);
    await settle();
    append('5');
    await settle();
    expect(told).toContain('5');
    for (const at of [1, 2, 3]) first.link.ack(at);
    await settle();
    append('6');
    await settle();
    expect([first.link.payloads, told.includes('6')]).toEqual([['1', '2', '3', '4', '5', '6'], false]);
  });

  it.each([
    ['a QoS 0 message, that nobody acknowledges,', 'a', { qos: 0 }],
    ['a message that is not wanted', 'other', {}],
    ['a message that came from there', 'a', { origin: 'upstream', upstream: 'cloud0' }],
  ] as const)('%s goes to the disk', async (_what, topic, changes) => {
    const { append, settle, told } = await setUp('a/#');
    append('one', topic, changes);
    await settle();
    expect(told).toEqual(['one']);
  });
});

describe('when the link goes before the acknowledgement', () => {
  it('the message goes to the disk, and is sent again under the same id', async () => {
    const { append, first, settle, told, clock, log } = await setUp('#');
    const id = append('one');
    await settle();
    first.drainer.detach();
    clock.advance(100);
    await settle();
    expect(told).toEqual(['one']);
    const link = new FakeLink();
    first.drainer.attach(link, session(), undefined);
    await settle();
    const idOf = (sent: FakeLink) => sent.sent[0]?.packet.properties?.userProperties['message-id'];
    expect([link.payloads, idOf(link)]).toEqual([['one'], idOf(first.link)]);
    link.ack(0);
    await settle();
    expect(log.cursor('cloud0')).toBe(id + 1n);
  });

  it('a message accepted after that does not wait for it', async () => {
    const { append, first, settle, told } = await setUp('#');
    first.drainer.detach();
    append('one');
    await settle();
    expect(told).toEqual(['one']);
  });

  it('one that the broker refuses for good is kept by the disk alone', async () => {
    const { append, first, settle, told, clock } = await setUp('#');
    append('one');
    await settle();
    first.link.sent[0]?.done(0x87);
    await settle();
    expect(told).toEqual([]);
    clock.advance(100);
    await settle();
    expect(told).toEqual(['one']);
  });

  it('a disk that fails then fails only what was not acknowledged', async () => {
    const { append, first, settle, told, clock, store } = await setUp('#');
    append('one');
    append('two');
    await settle();
    first.link.ack(0);
    store.broken = true;
    clock.advance(100);
    await settle();
    expect(told).toEqual(['one', 'two failed']);
    clock.advance(2_000);
    await settle();
    append('three');
    await settle();
    expect(first.link.payloads).toEqual(['one', 'two', 'three']);
    first.link.ack(2);
    expect(told).toEqual(['one', 'two failed', 'three']);
  });
});
