import { beforeEach, describe, expect, it } from 'vitest';
import { AccessRules } from '../../src/connections/index.ts';
import type { Message } from '../../src/domain/index.ts';
import type { Log } from '../../src/log/index.ts';
import { Pipeline } from '../../src/pipeline/index.ts';
import { Metrics, silentLogger } from '../../src/telemetry/index.ts';
import { makeLog, message, readAll, settle } from '../log/support.ts';
import type { FakeClock } from '../support/fake-clock.ts';
import { MemoryStore } from '../support/memory-store.ts';

let store: MemoryStore;
let log: Log;
let clock: FakeClock;
let pipeline: Pipeline;

async function start(on: MemoryStore): Promise<void> {
  store = on;
  ({ log, clock } = makeLog(store));
  await log.start();
  pipeline = new Pipeline({
    log,
    rules: new AccessRules([
      { effect: 'deny', action: 'publish', user: '*', client: '*', topic: 'forbidden/#' },
      { effect: 'allow', action: 'all', user: '*', client: '*', topic: '#' },
    ]),
    clock,
    logger: silentLogger,
    metrics: new Metrics(),
    options: { maxPayload: 100, retained: { maxMessages: 2, maxBytes: 50 } },
  });
  await pipeline.start();
}

beforeEach(() => start(new MemoryStore()));

/** Publishes and returns the error's code, `stored`, or `waiting`. */
async function publish(given: Message): Promise<string> {
  let outcome = 'waiting';
  pipeline.publish(given, (error) => {
    outcome = error?.code ?? 'stored';
  });
  await settle(clock);
  return outcome;
}

describe('the pipeline', () => {
  it('gives local subscribers a message at once, and acknowledges it once it is on disk', async () => {
    const got: string[] = [];
    pipeline.subscribe('a/+', (one) => got.push(`${one.payload}`));
    store.held = true;
    let acknowledged = false;
    pipeline.publish(message('x', 'a/b'), () => {
      acknowledged = true;
    });
    expect(got).toEqual(['x']);
    await settle(clock);
    expect(acknowledged).toBe(false);
    store.release();
    await settle(clock);
    expect(acknowledged).toBe(true);
  });

  it.each([
    ['invalid_topic', message('x', '')],
    ['invalid_topic', message('x', 'a/+')],
    ['invalid_topic', message('x', 'a\u0000b')],
    ['payload_too_large', message('x'.repeat(101))],
    ['access_denied', message('x', 'forbidden/y')],
    ['access_denied', message('x', '$SYS/broker/uptime')],
    ['limit_reached', message('x'.repeat(60), 'a', { retain: true })],
  ])('refuses with %s what must not come in, and nobody gets it', async (code, given) => {
    let got = 0;
    pipeline.onMessage(() => (got += 1));
    expect(await publish(given)).toBe(code);
    expect(got).toBe(0);
    expect((await readAll(log, 0n)).messages).toEqual([]);
  });

  it('does not apply the rules for clients to what comes from an upstream', async () => {
    expect(await publish(message('x', 'forbidden/y', { origin: 'upstream', upstream: 'cloud' }))).toBe('stored');
  });

  it('keeps the last retained message of a topic over a power cut, and forgets a cleared one', async () => {
    await publish(message('1', 'a', { retain: true }));
    await publish(message('2', 'a', { retain: true }));
    await publish(message('3', 'b', { retain: true }));
    await publish(message('', 'b', { retain: true }));
    await start(store.afterPowerCut());
    expect(`${pipeline.retained.get('a')?.payload}`).toBe('2');
    expect([...pipeline.retained.matching('#')].map((one) => one.topic)).toEqual(['a']);
  });

  it('bounds retained messages by count and bytes, replacing and clearing at the bound included', async () => {
    expect(await publish(message('1', 'a', { retain: true }))).toBe('stored');
    expect(await publish(message('2', 'b', { retain: true }))).toBe('stored');
    expect(await publish(message('3', 'c', { retain: true }))).toBe('limit_reached');
    expect(await publish(message('4', 'b', { retain: true }))).toBe('stored');
    expect(await publish(message('', 'a', { retain: true }))).toBe('stored');
    expect(await publish(message('3', 'c', { retain: true }))).toBe('stored');
  });

  it('lets a retained message go when its expiry is over', async () => {
    await publish(message('1', 'a', { retain: true, expiry: 10 }));
    clock.advance(10_000);
    expect(pipeline.retained.get('a')).toBeDefined();
    clock.advance(1);
    expect(pipeline.retained.get('a')).toBeUndefined();
    expect([...pipeline.retained.topics()]).toEqual([]);
  });
});

describe('several messages published together', () => {
  const together = async (...messages: Message[]) => {
    const outcome: { error: string | undefined; ids: readonly bigint[] }[] = [];
    pipeline.publishTogether(messages, (error, ids) => outcome.push({ error: error?.code, ids }));
    await settle(clock);
    return outcome;
  };

  it('are in one commit, acknowledged once, with their ids in the order given', async () => {
    const got: string[] = [];
    pipeline.onMessage((one) => got.push(one.topic));
    const [outcome, ...more] = await together(message('x', 'b'), message('x', 'a'), message('x', 'c'));
    const { messages } = await readAll(log, 0n);
    expect(messages.map(({ topic, id }) => [topic, id])).toEqual(['b', 'a', 'c'].map((t, n) => [t, outcome?.ids[n]]));
    expect([more, got, store.count('c')]).toEqual([[], ['b', 'a', 'c'], 1]);
  });

  it('wait for the disk, whatever upstreams have of them', async () => {
    const taken: bigint[] = [];
    log.deliverThrough({
      takes: (_message, id) => {
        taken.push(id);
        return 'now';
      },
    });
    store.held = true;
    const waiting = together(message('x', 'a'), message('x', 'b'));
    for (const id of taken) log.delivered(id);
    expect(await waiting).toEqual([]);
    store.release();
    await settle(clock);
    const { messages } = await readAll(log, 0n);
    expect([messages.map(({ id }) => id), store.count('c')]).toEqual([taken, 1]);
  });

  it('are none where one is refused, or where the disk fails', async () => {
    const got: string[] = [];
    pipeline.onMessage((one) => got.push(one.topic));
    expect(await together(message('x', 'a'), message('x', 'forbidden/b'))).toEqual([
      { error: 'access_denied', ids: [] },
    ]);
    expect(await together(message('x', 'a'), message('x', 'a/+'))).toEqual([{ error: 'invalid_topic', ids: [] }]);
    expect(got).toEqual([]);
    store.broken = true;
    expect(await together(message('x', 'a'), message('x', 'b'))).toEqual([{ error: 'store_failed', ids: [] }]);
    expect((await readAll(log, 0n)).messages).toEqual([]);
  });
});
