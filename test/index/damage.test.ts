import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LevelStore } from '../../src/log/index.ts';
import { damage, generator } from '../support/damage.ts';
import { type Bench, FakeLog, makeIndex, pass, settle, started, stopped, until } from './support.ts';

/**
 * One damage at a time to a copy of the index: it opens by itself, and what it answers is right or it says that it is not.
 *
 * DAMAGES=5000 is the full run.
 */
const damages = Number(process.env.DAMAGES ?? 60);
const seed = Number(process.env.SEED ?? 1);
const always = { from: 0, to: Number.MAX_SAFE_INTEGER };
const page = { skip: 0, limit: 10, order: 'asc' } as const;
const clients = 40;
const options = { flushPostings: 400 };

let place: string;
const log = new FakeLog();

const totalsOf = async ({ index }: Bench): Promise<number[]> => {
  const totals: number[] = [];
  for (let n = 0; n < clients; n++) totals.push((await index.messageRecords(`c${n}@app`, always, page)).total);
  return totals;
};

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'holdfast-index-damage-'));
  const random = generator(5);
  for (let boot = 0; boot < 3; boot++) {
    for (let n = 0; n < 1_500; n++) {
      log.append({ clientId: `c${Math.floor(random() * clients)}@app`, topic: `t/${n % 7}` }, 1_000 + 37 * n);
    }
    const bench = await started(new LevelStore(join(place, 'base', 'index')), log, options);
    await until(bench.clock, () => bench.metrics.value('holdfast_index_lag_messages') === 0);
    await stopped(bench);
    log.reboot();
  }
});

afterAll(() => rm(place, { recursive: true, force: true }));

async function trial(random: () => number, truth: readonly number[]): Promise<string> {
  const directory = await mkdtemp(join(place, 'copy-'));
  await cp(join(place, 'base'), directory, { recursive: true });
  const files = join(directory, 'index');
  const done = damage(files, random);
  const store = new LevelStore(files, { keep: 1 });
  const bench = makeIndex(store, log, options, { discard: () => rm(files, { recursive: true, force: true }) });
  const { clock, health, metrics } = bench;
  try {
    await bench.index.start();
    await settle(clock);
    const first = await totalsOf(bench).catch(() => undefined);
    await settle(clock);
    const rebuilt = () => metrics.value('holdfast_index_rebuilds_total') ?? 0;
    const noticed = rebuilt() > 0 || health.active().length > 0;
    const wrong = first?.some((total, n) => total !== truth[n]);
    if (wrong && !noticed) throw new Error('wrong answers, and nothing said');
    // the journal's end is read from the log again; what is damaged is built anew
    await until(clock, () => metrics.value('holdfast_index_lag_messages') === 0 && health.active().length === 0);
    await pass(clock, 2_000);
    expect(await totalsOf(bench)).toEqual(truth);
    const id = log.append({ clientId: 'later@app', topic: 't' }, 1);
    await until(clock, () => metrics.value('holdfast_index_lag_messages') === 0);
    expect((await bench.index.messageRecords('later@app', always, { ...page, order: 'desc' })).rows[0]?.message).toBe(
      id,
    );
    expect((await readdir(directory)).filter((name) => name.includes('.corrupt-')).length).toBeLessThanOrEqual(1);
    return rebuilt() > 0 ? 'rebuilt' : 'whole';
  } catch (thrown) {
    const told = health.active().map(({ code, detail }) => `${code}: ${detail}`);
    throw new Error(`${done.text}; ${told}\n${thrown instanceof Error ? thrown.message : thrown}`, { cause: thrown });
  } finally {
    await stopped(bench);
    await rm(directory, { recursive: true, force: true });
  }
}

describe('an index whose files were damaged', () => {
  it(`answers right or says that it does not, ${damages} times`, { timeout: 60_000 + damages * 2_000 }, async () => {
    const sound = await started(new LevelStore(join(place, 'base', 'index')), log, options);
    await until(sound.clock, () => sound.metrics.value('holdfast_index_lag_messages') === 0);
    const truth = await totalsOf(sound);
    await stopped(sound);
    const failures: string[] = [];
    const tally: Record<string, number> = {};
    for (let n = 0; n < damages; n++) {
      try {
        const how = await trial(generator(seed * 1_000_000 + n), truth);
        tally[how] = (tally[how] ?? 0) + 1;
      } catch (thrown) {
        failures.push(`#${n} ${thrown instanceof Error ? thrown.message : thrown}`);
      }
    }
    console.log(JSON.stringify({ damages, failures: failures.length, ...tally }));
    expect(failures.join('\n\n')).toBe('');
  });
});
