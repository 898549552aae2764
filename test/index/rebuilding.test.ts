import { describe, expect, it } from 'vitest';
import type { StoreOpening } from '../../src/log/index.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { type Bench, connected, FakeLog, makeIndex, pass, settle, started, stopped } from './support.ts';

const always = { from: 0, to: Number.MAX_SAFE_INTEGER };
const page = { skip: 0, limit: 10, order: 'asc' } as const;

/** A log, and the store of an index of it that has stopped. */
async function indexed(count = 600): Promise<{ log: FakeLog; store: MemoryStore }> {
  const log = new FakeLog();
  const store = new MemoryStore();
  log.record([connected('c@app')], 500);
  for (let n = 0; n < count; n++) log.append({ clientId: 'c@app', topic: 't' }, 1_000 + 13 * n);
  await stopped(await started(store, log));
  return { log, store };
}

const total = async ({ index }: Bench) => (await index.messageRecords('c@app', always, page)).total;
const codes = ({ health }: Bench) => health.active().map(({ code }) => code);
const rebuilds = ({ metrics }: Bench) => metrics.value('holdfast_index_rebuilds_total');

describe('an index whose directory is gone', () => {
  it('is built from the log', async () => {
    const { log } = await indexed();
    const bench = await started(new MemoryStore(), log);
    expect(await total(bench)).toBe(600);
    expect(await bench.index.lastConnection('c@app')).toMatchObject({ time: 500 });
  });

  it('starts at once, answers from what it has, and says so until it has all', async () => {
    const { log } = await indexed(20_000);
    const bench = makeIndex(new MemoryStore(), log, { flushPostings: 5_000 });
    await bench.index.start();
    await settle(bench.clock, 6);
    bench.clock.advance(1_100);
    await settle(bench.clock, 2);
    const some = await total(bench);
    expect(some).toBeGreaterThan(0);
    expect(some).toBeLessThan(20_000);
    expect(codes(bench)).toEqual(['index_rebuilding']);
    await settle(bench.clock, 100);
    expect(await total(bench)).toBe(20_000);
    expect(codes(bench)).toEqual([]);
  });
});

describe('an index that is damaged', () => {
  it.each([
    ['a row', 'a'],
    ['a body', 'A'],
  ])('in %s leaves that out, says so, and is built anew', async (_what, letter) => {
    const { log, store } = await indexed();
    store.damage(letter, 0, (value) => {
      value[9] = (value[9] ?? 0) ^ 0x20;
      return value;
    });
    const bench = await started(store, log);
    const asked = bench.index.messageRecords('c@app', always, page);
    await asked;
    expect(bench.metrics.value('holdfast_index_damages_total')).toBe(1);
    expect(codes(bench)).toEqual(['index_damaged']);
    await pass(bench.clock, 300);
    expect(await total(bench)).toBe(600);
    expect(rebuilds(bench)).toBe(1);
    expect(codes(bench)).toEqual([]);
  });

  it('so that the store does not give it says it is unavailable, and is built anew', async () => {
    const { log, store } = await indexed();
    store.spoil('a', 0);
    const discard = async () => {
      store.unreadable.clear();
      await store.open();
      await store.clear({ gte: Buffer.from([0]), lt: Buffer.from([255]) });
      await store.close();
    };
    const bench = await started(store, log, {}, { discard });
    await expect(total(bench)).rejects.toMatchObject({ code: 'unavailable' });
    await pass(bench.clock, 300);
    expect(await total(bench)).toBe(600);
    expect(rebuilds(bench)).toBe(1);
  });

  it('again and again is built anew once a minute at most', async () => {
    const { log, store } = await indexed();
    const bench = await started(store, log, { flushPostings: 100 });
    const damage = async () => {
      store.damage('a', 0, (value) => value.fill(0));
      await total(bench);
      await pass(bench.clock, 1_000, 500);
    };
    for (let second = 0; second < 58; second++) await damage();
    expect(rebuilds(bench)).toBe(1);
    for (let second = 0; second < 4; second++) await damage();
    expect(rebuilds(bench)).toBe(2);
  });

  it('in what says how far it is, is built anew', async () => {
    const { log, store } = await indexed();
    store.damage('p', 0, (value) => value.fill(0, 8, 12));
    const bench = await started(store, log);
    expect(await total(bench)).toBe(600);
    expect(rebuilds(bench)).toBe(1);
  });

  it.each<StoreOpening>([
    { how: 'repaired', reason: 'corruption' },
    { how: 'moved_aside', reason: 'corruption', to: 'index.corrupt-1' },
  ])('and was $how is built anew', async (opening) => {
    const { log, store } = await indexed();
    const open = store.open.bind(store);
    store.open = async () => {
      await open();
      return opening;
    };
    const bench = await started(store, log);
    expect(await total(bench)).toBe(600);
    expect(rebuilds(bench)).toBe(1);
  });
});

describe('an index that knows more than the log', () => {
  it('is built anew where the log begins anew', async () => {
    const { store } = await indexed();
    const log = new FakeLog();
    log.append({ clientId: 'c@app' }, 1_000);
    const bench = await started(store, log);
    expect(await total(bench)).toBe(1);
    expect(rebuilds(bench)).toBe(1);
  });

  it('is built anew where the log has lost its last messages', async () => {
    const { log, store } = await indexed();
    log.messages = log.messages.slice(0, -10);
    log.reboot();
    const bench = await started(store, log);
    expect(await total(bench)).toBe(590);
    expect(rebuilds(bench)).toBe(1);
  });

  it('is built anew where the log has lost its last events', async () => {
    const { log, store } = await indexed();
    log.runs = [];
    log.reboot();
    const bench = await started(store, log);
    expect((await bench.index.connectionRecords('c@app', always, page)).total).toBe(0);
    expect(rebuilds(bench)).toBe(1);
  });

  it('is not where retention has deleted them', async () => {
    const { log, store } = await indexed();
    log.trim(600);
    const bench = await started(store, log);
    expect(await total(bench)).toBe(0);
    expect(rebuilds(bench)).toBe(0);
  });
});

describe('an index whose store fails', () => {
  it('answers from what it has, says so, and goes on once it can write', async () => {
    const log = new FakeLog();
    const store = new MemoryStore();
    const bench = await started(store, log, { flushPostings: 100 });
    for (let n = 0; n < 20; n++) log.append({ clientId: 'c@app' }, 1_000);
    await pass(bench.clock, 200);
    store.broken = true;
    store.open = async () => {
      throw new Error('no such device');
    };
    for (let n = 0; n < 100; n++) log.append({ clientId: 'c@app' }, 1_000);
    await pass(bench.clock, 200);
    expect(codes(bench)).toEqual(['index_failing']);
    expect(await total(bench)).toBe(120);
    await pass(bench.clock, 6_000, 500);
    await expect(total(bench)).rejects.toMatchObject({ code: 'unavailable' });
    Reflect.deleteProperty(store, 'open');
    await pass(bench.clock, 6_000, 500);
    expect(codes(bench)).toEqual([]);
    expect(await total(bench)).toBe(120);
  });

  it('does not keep the gateway from starting', async () => {
    const log = new FakeLog();
    const store = new MemoryStore();
    store.unopenable = true;
    log.append({ clientId: 'c@app' }, 1_000);
    const bench = await started(store, log);
    expect(codes(bench)).toEqual(['index_failing']);
    store.unopenable = false;
    await pass(bench.clock, 6_000, 500);
    expect(await total(bench)).toBe(1);
    expect(codes(bench)).toEqual([]);
  });

  it('is not built anew because the log is closed at the moment', async () => {
    const { log, store } = await indexed();
    log.closed = true;
    log.append({ clientId: 'c@app' }, 9_000);
    const bench = await started(store, log);
    expect(await total(bench)).toBe(600);
    log.closed = false;
    await pass(bench.clock, 1_200);
    expect(await total(bench)).toBe(601);
    expect(rebuilds(bench)).toBe(0);
  });

  it('survives a log that cannot be read at the moment', async () => {
    const log = new FakeLog();
    const bench = await started(new MemoryStore(), log);
    log.read = () => Promise.reject(new Error('input/output error'));
    log.append({ clientId: 'c@app' }, 1_000);
    await pass(bench.clock, 300);
    Reflect.deleteProperty(log, 'read');
    await pass(bench.clock, 1_200);
    expect(await total(bench)).toBe(1);
  });
});
