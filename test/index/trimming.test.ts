import { describe, expect, it } from 'vitest';
import { MemoryStore } from '../support/memory-store.ts';
import { connected, delivered, FakeLog, pass, started, stopped } from './support.ts';

const always = { from: 0, to: Number.MAX_SAFE_INTEGER };
const page = { skip: 0, limit: 1_000, order: 'asc' } as const;

function filled(count: number): FakeLog {
  const log = new FakeLog();
  for (let n = 0; n < count; n++) {
    const id = log.append({ clientId: `c${n % 5}@app`, topic: 't' }, 1_000 + n);
    if (n % 10 === 0) log.record([connected('c@app'), delivered(id, 'c@app', 1)], 1_000 + n);
  }
  return log;
}

describe('what retention has deleted', () => {
  it('is in no answer, at once', async () => {
    const log = filled(1_000);
    const { index } = await started(new MemoryStore(), log, { flushPostings: 700 });
    log.trim(605);
    expect((await index.messageRecords('c0@app', always, page)).total).toBe(79);
    expect((await index.messageRecords('c@app', always, page)).total).toBe(39);
    expect((await index.topicMessages('t', always, page)).total).toBe(395);
    const { rows, total } = await index.connectionRecords('c@app', always, page);
    expect([rows.length, total]).toEqual([39, 39]);
    expect((await index.deliveries(log.head - 5n, 'c@app', always, page)).total).toBe(0);
    expect((await index.deliveries(log.head + 5n, 'c@app', always, page)).total).toBe(1);
  });

  it('is in no answer where of several runs of events at a position the first ones are gone', async () => {
    const log = new FakeLog();
    for (let n = 0; n < 10; n++) log.record([connected('c@app')], 1_000 + n);
    const store = new MemoryStore();
    await stopped(await started(store, log));
    const { index } = await started(store, log);
    log.trimRuns(4);
    const { rows, total } = await index.connectionRecords('c@app', always, page);
    expect(total).toBe(6);
    expect(rows.map(({ time }) => time)).toEqual([1_004, 1_005, 1_006, 1_007, 1_008, 1_009]);
  });

  it('is deleted from the index by a sweep, and nothing else', async () => {
    const log = filled(8_000);
    const store = new MemoryStore();
    const options = { flushPostings: 500, sweepPostings: 100, flushInterval: 1_000 };
    const { index, clock } = await started(store, log, options);
    await pass(clock, 2_000);
    log.trim(7_500);
    for (let n = 0; n < 3_000; n++) log.append({ clientId: 'c1@app', topic: 't' }, 9_000);
    await pass(clock, 5_000);
    expect(store.count('a') + store.count('b') + store.count('c')).toBeLessThan(36);
    expect((await index.topicMessages('t', always, page)).total).toBe(3_500);
    log.trim(3_500);
    for (let n = 0; n < 3_000; n++) log.append({ origin: 'upstream' }, 9_000);
    log.append({ clientId: 'c1@app', topic: 't' }, 9_000);
    await pass(clock, 86_500_000, 10_000_000);
    await pass(clock, 2_000);
    expect([store.count('A'), store.count('B'), store.count('C')]).toEqual([0, 0, 0]);
    expect(store.count('b')).toBe(0);
    expect(store.count('a') + store.count('c')).toBeLessThanOrEqual(4);
    expect((await index.topicMessages('t', always, page)).total).toBe(1);
  });

  it('is skipped by an index that has not come that far', async () => {
    const log = filled(1_000);
    const store = new MemoryStore();
    await stopped(await started(store, log));
    for (let n = 0; n < 100; n++) log.append({ clientId: 'c1@app', topic: 't' }, 9_000);
    log.trim(1_050);
    const { index, metrics } = await started(store, log);
    expect((await index.topicMessages('t', always, page)).total).toBe(50);
    expect(metrics.value('holdfast_index_lag_messages')).toBe(0);
  });
});

describe('a sweep', () => {
  it('gives the space of what it deleted back once that is half of the store', async () => {
    const log = filled(3_000);
    const store = new MemoryStore();
    let compactions = 0;
    store.compact = async () => {
      compactions += 1;
    };
    store.size = async () => 12_000;
    const { clock } = await started(store, log, { sweepPostings: 100, flushInterval: 1_000, compactBytes: 1_000 });
    const rounds: number[] = [];
    for (let round = 0; round < 5; round++) {
      for (let n = 0; n < 1_000; n++) log.append({ clientId: 'c1@app', topic: 't' }, 9_000);
      log.trim(log.messages.length - 1_000);
      await pass(clock, 3_000);
      rounds.push(compactions);
    }
    expect(compactions).toBeGreaterThan(0);
    expect(compactions).toBeLessThan(rounds.length);
  });

  it('keeps boots and clock qualities apart', async () => {
    const log = new FakeLog();
    const { index, clock } = await started(new MemoryStore(), log, { flushInterval: 1_000, sweepBlocks: 4 });
    const ids: bigint[] = [];
    for (let n = 0; n < 60; n++) {
      if (n % 7 === 6) log.reboot();
      ids.push(log.append({ clientId: 'c@app' }, 1_000 + n, n % 20 < 10 ? 'synced' : 'unsynced'));
      await pass(clock, 1_000, 200);
    }
    expect((await index.messageRecords('c@app', always, page)).rows.map(({ message }) => message)).toEqual(ids);
  });

  it('merges the small blocks of a term, each posting a few times only', async () => {
    const log = new FakeLog();
    const store = new MemoryStore();
    const { index, clock } = await started(store, log, { flushInterval: 1_000, sweepBlocks: 32 });
    let written = 0;
    const write = store.write.bind(store);
    store.write = (writes, sync) => {
      expect(sync).toBe(false);
      for (const one of writes)
        if (one.type === 'put' && ['a', 'A'].includes(one.key.toString('latin1', 0, 1))) written += one.value.length;
      return write(writes, sync);
    };
    for (let n = 0; n < 600; n++) {
      log.append({ clientId: 'c@app', topic: 't' }, 1_000 + n);
      await pass(clock, 1_000, 200);
    }
    await pass(clock, 2_000);
    expect((await index.messageRecords('c@app', always, page)).rows.map(({ time }) => time - 1_000)).toEqual(
      Array.from({ length: 600 }, (_, n) => n),
    );
    expect(store.count('a')).toBeLessThan(60);
    // 600 blocks of 20 bytes, and what merging them wrote
    expect(written).toBeLessThan(14_500);
  });
});
