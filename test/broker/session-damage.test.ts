import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LevelStore } from '../../src/log/index.ts';
import { damage, generator } from '../support/damage.ts';
import { type FakeLog, startSessions } from './session-bench.ts';

/**
 * One damage at a time to a copy of the store of sessions: it opens by itself, gives nobody what is not his, and says
 * that something is lost.
 *
 * DAMAGES=5000 is the full run.
 */
const damages = Number(process.env.DAMAGES ?? 80);
const seed = Number(process.env.SEED ?? 1);

let place: string;
let log: FakeLog;
/** Filters with their QoS, and the queue, by client. */
let truth: Map<string, { readonly filters: Map<string, number>; readonly queue: readonly string[] }>;

type Started = Awaited<ReturnType<typeof start>>;

function start(directory: string, given?: FakeLog) {
  const disk = new LevelStore(join(directory, 'sessions'), { verify: Number.POSITIVE_INFINITY });
  return startSessions<LevelStore>(given === undefined ? { disk } : { disk, log: given });
}

function stateOf({ store, queued }: Started): typeof truth {
  const state: typeof truth = new Map();
  for (let n = 0; n < 24; n++) {
    const session = store.sessions.get(`client-${n}`);
    if (session === undefined) continue;
    const filters = new Map([...session.subscriptions].map(([filter, { qos }]) => [filter, qos]));
    state.set(session.clientId, { filters, queue: queued(session.clientId) });
  }
  return state;
}

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'holdfast-session-damage-'));
  const base = join(place, 'base');
  const random = generator(3);
  for (let boot = 0; boot < 4; boot++) {
    const bench = await start(base, log);
    log = bench.log;
    for (let n = boot * 6; n < boot * 6 + 6; n++) {
      const client = bench.connect(`client-${n}`);
      await bench.subscribe(client, `of/${n}`, 1);
      await bench.subscribe(client, `group/${n % 3}/#`, 2);
    }
    for (let n = 0; n < 60; n++) {
      const topic = random() < 0.5 ? `of/${Math.floor(random() * 24)}` : `group/${Math.floor(random() * 3)}/x`;
      bench.publish(`${boot}-${n}`.padEnd(Math.floor(random() * 300), '.'), { topic, qos: 2 });
    }
    await bench.store.flush(true);
    truth = stateOf(bench);
    await bench.store.stop();
  }
});

afterAll(() => rm(place, { recursive: true, force: true }));

async function trial(random: () => number): Promise<string> {
  const directory = await mkdtemp(join(place, 'copy-'));
  await cp(join(place, 'base'), directory, { recursive: true });
  const done = damage(join(directory, 'sessions'), random);
  let bench: Started | undefined;
  try {
    bench = await start(directory, log);
    const found = stateOf(bench);
    const conditions = bench.health.active();
    let missing = 0;
    for (const [clientId, { filters, queue }] of truth) {
      const one = found.get(clientId) ?? { filters: new Map<string, number>(), queue: [] };
      // nothing that was not there
      for (const [filter, qos] of one.filters) expect(filters.get(filter)).toBe(qos);
      for (const payload of one.queue) expect(queue).toContain(payload);
      missing += filters.size - one.filters.size + queue.length - one.queue.length;
    }
    expect([...found.keys()].filter((id) => !truth.has(id))).toEqual([]);
    expect(
      missing === 0 || conditions.some(({ code }) => code === 'sessions_damaged') ? '' : `${missing} missing`,
    ).toBe('');
    const client = bench.connect('new');
    await bench.subscribe(client, 'new/#', 1);
    bench.publish('for the new one', { topic: 'new/x' });
    await bench.store.stop();
    bench = await start(directory, log);
    expect(bench.queued('new')).toEqual(['for the new one']);
    expect(bench.health.active().map(({ detail }) => detail)).toEqual([]);
    // what was damaged is not damaged once more
    for (const [clientId, one] of stateOf(bench)) expect(one).toEqual(found.get(clientId));
    const [condition] = conditions;
    const aside = (await readdir(directory)).filter((name) => name.includes('.corrupt-'));
    for (const name of aside) expect(condition?.detail).toContain(name);
    return missing > 0 ? 'lost' : condition === undefined ? 'whole' : 'mended';
  } catch (thrown) {
    throw new Error(`${done.text}\n${thrown instanceof Error ? thrown.message : thrown}`, { cause: thrown });
  } finally {
    await bench?.store.stop();
    // a message of this trial alone
    log.messages.splice(log.messages.findIndex(({ topic }) => topic === 'new/x') >>> 0);
    await rm(directory, { recursive: true, force: true });
  }
}

describe('a session store whose files were damaged', () => {
  it(`opens, gives nobody what is not his and says so, ${damages} times`, {
    timeout: 60_000 + damages * 2_000,
  }, async () => {
    const failures: string[] = [];
    const tally: Record<string, number> = {};
    for (let n = 0; n < damages; n++) {
      try {
        const how = await trial(generator(seed * 1_000_000 + n));
        tally[how] = (tally[how] ?? 0) + 1;
      } catch (thrown) {
        failures.push(`#${n} ${thrown instanceof Error ? thrown.message : thrown}`);
      }
    }
    console.log(JSON.stringify({ damages, failures: failures.length, ...tally }));
    expect(failures.join('\n\n')).toBe('');
  });

  it('of a later format is neither opened nor moved aside', async () => {
    const directory = join(place, 'later');
    await cp(join(place, 'base'), directory, { recursive: true });
    const store = new LevelStore(join(directory, 'sessions'));
    await store.open();
    const { seal } = await import('../../src/sessions/codec.ts');
    const key = Buffer.from('f');
    await store.write([{ type: 'put', key, value: seal(key, Buffer.from('3')) }], true);
    await store.close();
    await expect(start(directory, log)).rejects.toMatchObject({
      code: 'later_format',
      message: expect.stringMatching(/format 3\b.*format 2\b/),
    });
    expect(await readdir(directory)).toEqual(['sessions']);
    await store.open();
    expect((await store.get(key))?.toString('latin1')).toContain('3');
    await store.close();
  });
});
