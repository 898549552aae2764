import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LevelStore } from '../../src/log/index.ts';
import { all, type Bench, connected, delivered, FakeLog, pass, settle, started, stopped, until } from './support.ts';

const always = { from: 0, to: Number.MAX_SAFE_INTEGER };
const page = { skip: 0, limit: 1_000, order: 'asc' } as const;

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'holdfast-index-'));
});

afterEach(() => rm(directory, { recursive: true, force: true }));

const files = () => join(directory, 'index');
const discard = () => rm(files(), { recursive: true, force: true });

const upToDate = ({ clock, metrics, health }: Bench) =>
  until(clock, () => metrics.value('holdfast_index_lag_messages') === 0 && health.active().length === 0);

function filled(count: number): FakeLog {
  const log = new FakeLog();
  for (let n = 0; n < count; n++) {
    const id = log.append({ clientId: `c${n % 3}@app`, topic: 't' }, 1_000 + 37 * n);
    if (n % 100 === 0) log.record([connected('c@app'), delivered(id, 'c@app', 1)], 1_000 + 37 * n);
  }
  return log;
}

describe('an index on disk', () => {
  it('answers after a restart as before, and is deleted without harm', async () => {
    const log = filled(5_000);
    const ask = async ({ index }: Bench) => {
      const { total, messages } = await index.topicMessages('t', { from: 2_000, to: 150_000 }, { ...page, skip: 990 });
      return {
        topic: { total, ids: (await all(messages)).map(({ id }) => id) },
        client: await index.messageRecords('c1@app', { from: 2_000, to: 150_000 }, { ...page, order: 'desc' }),
        connections: await index.connectionRecords('c@app', always, page),
        last: await index.lastConnection('c@app'),
        deliveries: await index.deliveries(log.head + 100n, 'c@app', always, page),
      };
    };
    const before = await started(new LevelStore(files()), log, { flushPostings: 1_000 });
    await upToDate(before);
    const answers = await ask(before);
    expect(answers.topic.total).toBe(4_000);
    expect(answers.deliveries.total).toBe(1);
    await stopped(before);
    const again = await started(new LevelStore(files()), log);
    await upToDate(again);
    expect(await ask(again)).toEqual(answers);
    expect(again.metrics.value('holdfast_index_rebuilds_total')).toBe(0);
    await stopped(again);
    await discard();
    const anew = await started(new LevelStore(files()), log);
    await upToDate(anew);
    expect(await ask(anew)).toEqual(answers);
    await stopped(anew);
  });

  it('shows each row once while it is written, merged and trimmed', async () => {
    const log = new FakeLog();
    const options = { flushPostings: 40, sweepBlocks: 8, sweepPostings: 50, flushWrites: 3, followDelay: 10 };
    const bench = await started(new LevelStore(files()), log, options);
    const { index, clock, health } = bench;
    let over = false;
    let queries = 0;
    const ask = async (order: 'asc' | 'desc') => {
      for (; !over; queries++) {
        const { rows, total } = await index.messageRecords('c@app', always, { skip: 0, limit: 100_000, order });
        expect(total).toBe(rows.length);
        const ids = rows.map(({ message }) => message);
        if (order === 'desc') ids.reverse();
        // without a hole, and none twice
        expect(ids.every((id, at) => at === 0 || id === (ids[at - 1] ?? 0n) + 1n)).toBe(true);
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
    };
    let done = false;
    const asking = Promise.all([ask('asc'), ask('desc')]).finally(() => {
      over = true;
      done = true;
    });
    asking.catch(() => undefined);
    for (let round = 0; round < 60; round++) {
      for (let n = 0; n < 17; n++) log.append({ clientId: 'c@app', topic: 't' }, 1_000 + round);
      if (round % 20 === 19) log.trim(100);
      await pass(clock, 30, 10);
      while (!over && queries < 3 * round) await settle(clock, 1);
    }
    await upToDate(bench);
    over = true;
    await until(clock, () => done);
    await asking;
    expect((await index.messageRecords('c@app', always, page)).total).toBe(60 * 17 - 300);
    expect(health.active()).toEqual([]);
    await stopped(bench);
  });

  it('whose files were overwritten is built anew', async () => {
    const log = filled(20_000);
    const before = await started(new LevelStore(files()), log, { flushPostings: 2_000 });
    await upToDate(before);
    await stopped(before);
    // a start writes what was in the journal into a table
    await stopped(await started(new LevelStore(files()), log));
    const tables = (await readdir(files())).filter((name) => name.endsWith('.ldb'));
    expect(tables.length).toBeGreaterThan(0);
    for (const name of tables) {
      const bytes = await readFile(join(files(), name));
      await writeFile(join(files(), name), bytes.fill(0x5a, 0, Math.floor(bytes.length / 2)));
    }
    const bench = await started(new LevelStore(files()), log, {}, { discard });
    const total = async () => (await bench.index.messageRecords('c1@app', always, page)).total;
    await total().catch(() => undefined);
    await until(bench.clock, () => bench.metrics.value('holdfast_index_rebuilds_total') === 1);
    await upToDate(bench);
    expect(await total()).toBe(6_667);
    expect(bench.metrics.value('holdfast_index_rebuilds_total')).toBe(1);
    expect(bench.health.active()).toEqual([]);
    await stopped(bench);
  });
});
