import { readdirSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LevelStore } from '../../src/log/index.ts';
import { type Bench, delivered, FakeLog, pass, started, stopped } from './support.ts';

const MiB = 1024 * 1024;
const always = { from: 0, to: Number.MAX_SAFE_INTEGER };
const newest = { skip: 0, limit: 10, order: 'desc' } as const;
const oldest = { skip: 0, limit: 10, order: 'asc' } as const;
const maxBytes = 2 * MiB;
const count = 20_000;

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'holdfast-index-bound-'));
});

afterAll(() => rm(directory, { recursive: true, force: true }));

/** Bytes that the disk has for the index. */
function taken(): number {
  let bytes = 0;
  for (const name of readdirSync(join(directory, 'index'))) {
    try {
      bytes += statSync(join(directory, 'index', name)).blocks * 512;
    } catch {
      // LevelDB has deleted it meanwhile
    }
  }
  return bytes;
}

const open = (log: FakeLog) => started(new LevelStore(join(directory, 'index'), { maxBytes }), log, { maxBytes });

const clientOf = (n: number) => `client-${n}@app`;

/** One message of each client to the topic `t`, delivered to another client: every list but one has a single entry. */
function append(log: FakeLog, n: number): void {
  const id = log.append({ clientId: clientOf(n), topic: 't' }, 1_000 + n);
  log.record([delivered(id, `reader-${n}@app`, 1)], 1_000 + n);
}

/** What it answers about the topic: how many, of which the oldest and the newest. */
async function topic({ index }: Bench): Promise<{ total: number; oldest: number; newest: number }> {
  const timeOf = async (page: typeof oldest | typeof newest) => {
    const { messages } = await index.topicMessages('t', always, page);
    for await (const { time } of messages) return time - 1_000;
    return -1;
  };
  const { total } = await index.topicMessages('t', always, newest);
  return { total, oldest: await timeOf(oldest), newest: await timeOf(newest) };
}

describe('an index with a bound', () => {
  it('gives up its oldest entries, takes no more than a third beyond, and is exact about what it has', async () => {
    const log = new FakeLog();
    let bench = await open(log);
    let peak = 0;
    const records = async (n: number) => (await bench.index.messageRecords(clientOf(n), always, oldest)).total;
    let looks = 0;
    const upToDate = async () => {
      for (let late = true; late; ) {
        await pass(bench.clock, 20, 20);
        peak = Math.max(peak, taken());
        late = bench.metrics.value('holdfast_index_lag_messages') !== 0;
        // what is gone is gone for every query at once, whatever is being deleted
        const { oldest: first, total } = await topic(bench);
        const found = total === 0 ? 1 : await records(first);
        if ((await topic(bench)).oldest !== first) continue;
        looks += 1;
        expect(found).toBe(1);
      }
    };
    for (let n = 0; n < count; n++) {
      append(log, n);
      if (n % 500 === 0) await upToDate();
    }
    await upToDate();
    expect(peak).toBeLessThan((maxBytes * 4) / 3);
    const before = await topic(bench);
    // some are gone, and what is left has no hole
    expect(before.total).toBeLessThan(count / 2);
    expect(before.total).toBeGreaterThan(1_000);
    expect(before.newest).toBe(count - 1);
    expect(before.oldest).toBe(count - before.total);
    expect(looks).toBeGreaterThan(30);
    expect([await records(0), await records(before.oldest - 1)]).toEqual([0, 0]);
    expect([await records(before.oldest), await records(count - 1)]).toEqual([1, 1]);
    await stopped(bench);
    bench = await open(log);
    await upToDate();
    const after = await topic(bench);
    expect(after.newest).toBe(count - 1);
    expect(after.oldest).toBe(count - after.total);
    expect(after.oldest).toBeGreaterThanOrEqual(before.oldest);
    expect(bench.metrics.value('holdfast_index_rebuilds_total')).toBe(0);
    await stopped(bench);
  }, 60_000);
});
