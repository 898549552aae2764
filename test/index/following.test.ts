import { describe, expect, it } from 'vitest';
import { MemoryStore } from '../support/memory-store.ts';
import { connected, delivered, FakeLog, makeIndex, pass, settle, started, stopped } from './support.ts';

const always = { from: 0, to: Number.MAX_SAFE_INTEGER };
const page = { skip: 0, limit: 10, order: 'asc' } as const;

describe('the index follows the log', () => {
  it('within a second', async () => {
    const log = new FakeLog();
    const { index, clock, metrics } = await started(new MemoryStore(), log);
    for (let n = 0; n < 5_000; n++) log.append({ clientId: 'c@app' }, 1_000);
    log.record([delivered(log.next - 1n, 'c@app')], 1_000);
    expect(metrics.value('holdfast_index_lag_messages')).toBe(5_000);
    await pass(clock, 900);
    expect((await index.messageRecords('c@app', always, page)).total).toBe(5_001);
    expect(metrics.value('holdfast_index_lag_messages')).toBe(0);
  });

  it('with one timer, however many commits there are', async () => {
    const log = new FakeLog();
    const { clock } = await started(new MemoryStore(), log);
    for (let n = 0; n < 50; n++) log.append({ clientId: 'c@app' }, 1_000);
    expect(clock.armed.filter((name) => name === 'index follow')).toEqual(['index follow']);
  });

  it('in slices, so that others have their turn', async () => {
    const log = new FakeLog();
    for (let n = 0; n < 10_000; n++) log.append({ clientId: 'c@app' }, 1_000);
    const { index, clock, metrics } = makeIndex(new MemoryStore(), log);
    await index.start();
    const lags: number[] = [];
    for (let turn = 0; turn < 20; turn++) {
      await settle(clock, 1);
      lags.push(metrics.value('holdfast_index_lag_messages') ?? -1);
    }
    expect(new Set(lags).size).toBeGreaterThan(8);
    expect(lags.at(-1)).toBe(0);
  });

  it('without a write as long as little gathered', async () => {
    const log = new FakeLog();
    const store = new MemoryStore();
    const { clock } = await started(store, log);
    const writes = store.unsynced;
    for (let n = 0; n < 100; n++) {
      log.append({ clientId: 'c@app' }, 1_000);
      await pass(clock, 1_000, 500);
    }
    expect(store.unsynced).toBe(writes);
    await pass(clock, 600_000, 60_000);
    expect(store.count('a')).toBe(1);
  });

  it('with no more postings in memory than it is given, about', async () => {
    const log = new FakeLog();
    const store = new MemoryStore();
    for (let n = 0; n < 5_000; n++) log.append({ clientId: 'c@app' }, 1_000);
    await started(store, log, { flushPostings: 100 });
    // what is lost with the memory is what a restart has to read again
    const reads: bigint[] = [];
    log.listeners.clear();
    const read = log.read.bind(log);
    log.read = (from, max) => {
      reads.push(from);
      return read(from, max);
    };
    await started(store.afterPowerCut(0), log);
    expect(reads.length).toBeGreaterThan(0);
    expect(reads.filter((from) => from < log.next - 1_000n)).toEqual([]);
  });

  it('past what the log skips, and without what it gives twice', async () => {
    const log = new FakeLog();
    log.record([connected('c@app')], 1_000);
    log.record([connected('c@app')], 2_000);
    const readEvents = log.readEvents.bind(log);
    log.readEvents = async (from, max) => {
      const page = await readEvents(from, max);
      const [first] = page.events;
      if (first === undefined) return { events: log.runs[1]?.events ?? [], next: from };
      const { place } = first;
      return place === log.runs[0]?.place ? { events: [], next: log.runs[1]?.place ?? from } : page;
    };
    const { index } = await started(new MemoryStore(), log);
    expect((await index.connectionRecords('c@app', always, page)).rows.map(({ time }) => time)).toEqual([2_000]);
  });
});

describe('an index that starts again', () => {
  it('goes on where it stopped', async () => {
    const log = new FakeLog();
    const store = new MemoryStore();
    for (let n = 0; n < 700; n++) log.append({ clientId: 'c@app' }, 1_000);
    await stopped(await started(store, log));
    const stoppedAt = log.next;
    const reads: bigint[] = [];
    const read = log.read.bind(log);
    log.read = (from, max) => {
      reads.push(from);
      return read(from, max);
    };
    log.append({ clientId: 'c@app' }, 1_000);
    const { index, metrics } = await started(store, log);
    expect((await index.messageRecords('c@app', always, page)).total).toBe(701);
    expect(reads.filter((from) => from < stoppedAt)).toEqual([stoppedAt - 1n]);
    expect(metrics.value('holdfast_index_rebuilds_total')).toBe(0);
  });

  it('after a kill reads again what was not written', async () => {
    const log = new FakeLog();
    const store = new MemoryStore();
    for (let n = 0; n < 700; n++) log.append({ clientId: 'c@app' }, 1_000);
    await stopped(await started(store, log));
    const bench = await started(store, log);
    for (let n = 0; n < 50; n++) log.append({ clientId: 'c@app' }, 1_000);
    await pass(bench.clock, 300);
    const { index, metrics } = await started(store.afterPowerCut(0), log);
    expect((await index.messageRecords('c@app', always, page)).total).toBe(750);
    expect(metrics.value('holdfast_index_rebuilds_total')).toBe(0);
  });

  it('does not count what a flush left that was cut off, and sweeps it away', async () => {
    const log = new FakeLog();
    const store = new MemoryStore();
    for (let n = 0; n < 40; n++) log.append({ clientId: `c${n}@app` }, 1_000);
    await stopped(await started(store, log, { flushWrites: 5 }));
    // everything but the last write, which says that the flush is complete
    const survivor = store.afterPowerCut(1);
    expect(survivor.count('a')).toBeGreaterThan(20);
    const { index, clock, metrics } = await started(survivor, log, { flushWrites: 5 });
    for (let n = 0; n < 40; n++) expect((await index.messageRecords(`c${n}@app`, always, page)).total).toBe(1);
    await pass(clock, 700_000, 50_000);
    await pass(clock, 1_000);
    for (let n = 0; n < 40; n++) expect((await index.messageRecords(`c${n}@app`, always, page)).total).toBe(1);
    expect(survivor.count('a')).toBe(40);
    log.append({}, 1_000);
    await pass(clock, 700_000, 50_000);
    expect((await survivor.get(Buffer.from('p')))?.toString('latin1')).toContain('"void":[]');
    expect(metrics.value('holdfast_index_rebuilds_total')).toBe(0);
  });
});
