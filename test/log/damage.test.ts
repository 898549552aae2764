import { randomBytes } from 'node:crypto';
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bootOf, formatMessageId } from '../../src/domain/index.ts';
import { AtomicNumberFile, LevelStore, Log } from '../../src/log/index.ts';
import { Health, type Logger, Metrics } from '../../src/telemetry/index.ts';
import { type Damage, damage, generator } from '../support/damage.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeDisk } from '../support/fake-disk.ts';
import { defaults, message } from './support.ts';

/**
 * One damage at a time to a copy of a log on a real LevelDB: it opens by itself, never gives a message that was not
 * written under that id, and says what is missing.
 *
 * DAMAGES=5000 is the full run.
 */
const damages = Number(process.env.DAMAGES ?? 80);
const seed = Number(process.env.SEED ?? 1);

let place: string;
/** What was written, and where the reader `cloud` is. */
const written = new Map<bigint, { readonly topic: string; readonly payload: Buffer }>();
let cursor = 0n;
let copies = 0;

interface Bench {
  readonly log: Log;
  readonly clock: FakeClock;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly lines: string[];
}

const queue = { maxBytes: 1 << 30, maxRecords: 1_000_000, overflow: 'drop_oldest' } as const;

function bench(directory: string): Bench {
  const clock = new FakeClock();
  const health = new Health(clock);
  const metrics = new Metrics();
  const lines: string[] = [];
  const note = (fields: object, text: string): void => {
    lines.push(`${text} ${JSON.stringify(fields, (_key, value) => (typeof value === 'bigint' ? `${value}` : value))}`);
  };
  const logger: Logger = { debug: () => undefined, info: note, warn: note, error: note, child: () => logger };
  const log = new Log({
    store: new LevelStore(join(directory, 'log')),
    bootFile: new AtomicNumberFile(join(directory, 'boot')),
    space: new FakeDisk(),
    clock,
    quality: () => 'synced',
    logger,
    metrics,
    health,
    options: { ...defaults, commitDelay: 0, recentBytes: 0 },
  });
  return { log, clock, health, metrics, lines };
}

/** Lets time pass until `condition` holds, for what is on a real disk. */
async function until(clock: FakeClock, condition: () => boolean, what: string): Promise<void> {
  const end = Date.now() + Number(process.env.PATIENCE ?? 20_000);
  while (!condition()) {
    if (Date.now() > end) throw new Error(`it does not come to that: ${what}`);
    clock.advance(20);
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

async function within<T>(clock: FakeClock, promise: Promise<T>, what: string): Promise<T> {
  let over = false;
  const watched = promise.finally(() => {
    over = true;
  });
  watched.catch(() => undefined);
  await until(clock, () => over, what);
  return watched;
}

async function started(directory: string, made = bench(directory)): Promise<Bench> {
  await within(made.clock, made.log.start(), 'it starts');
  await until(made.clock, () => made.log.writable, 'it opens');
  made.log.holdFor('cloud', queue);
  return made;
}

/** Appends `count` messages, each acknowledged. */
async function fill({ log, clock }: Bench, count: number, random: () => number, into = written): Promise<void> {
  for (let left = count; left > 0; ) {
    let waiting = 0;
    for (let n = Math.min(left, 1 + Math.floor(random() * 8)); n > 0; n--, left--) {
      const size = Math.floor(random() * (random() < 0.1 ? 6_000 : 600));
      const payload = random() < 0.5 ? randomBytes(size) : Buffer.alloc(size, `${left} `);
      const topic = `t/${Math.floor(random() * 20)}`;
      waiting += 1;
      const retain = random() < 0.1;
      const change = retain ? { change: { key: `r/${topic}`, keep: true } } : {};
      const id = log.append(
        message(payload, topic, { retain }),
        (error) => {
          if (error === undefined) {
            into.set(id, { topic, payload });
            waiting -= 1;
          }
        },
        change.change,
      );
    }
    await until(clock, () => waiting === 0, 'messages are committed');
  }
}

/** All messages, over the places that do not read; and how many were told to be lost. */
async function readAll({ log, clock }: Bench, from: bigint) {
  const found = new Map<bigint, { readonly topic: string; readonly payload: Buffer }>();
  let lost = 0;
  for (let at = from, stuck = 0; at < log.next && stuck < 3; ) {
    const page = await within(clock, Promise.resolve(log.read(at, { records: 50, bytes: 64 * 1024 })), 'it reads');
    for (const { id, topic, payload } of page.messages) {
      expect(found.has(id)).toBe(false);
      found.set(id, { topic, payload: Buffer.from(payload) });
    }
    lost += page.lost;
    stuck = page.next === at ? stuck + 1 : 0;
    at = page.next;
  }
  return { found, lost };
}

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'holdfast-damage-'));
  const random = generator(7);
  const base = join(place, 'closed');
  for (let boot = 0; boot < 6; boot++) {
    const made = await started(base);
    await fill(made, 50, random);
    if (boot === 2) {
      cursor = made.log.next - 20n;
      made.log.moveCursor('cloud', cursor);
    }
    made.log.events.record({ kind: 'delivered', message: made.log.next, clientId: 'a@app', qos: 1 });
    if (boot === 5) await cp(base, join(place, 'open'), { recursive: true });
    await within(made.clock, made.log.stop(), 'it stops');
  }
});

afterAll(() => rm(place, { recursive: true, force: true }));

/** One damage, and all that has to hold then. */
async function trial(
  state: 'closed' | 'open',
  random: () => number,
): Promise<{ done: Damage; missing: number; lost: number; how: string }> {
  const directory = join(place, `copy-${copies++}`);
  await cp(join(place, state), directory, { recursive: true });
  const done = damage(join(directory, 'log'), random);
  let made: Bench | undefined = bench(directory);
  try {
    await started(directory, made);
    const { log, clock, health, lines } = made;
    const boot = bootOf(log.next);
    expect(boot).toBeGreaterThan(6);
    expect(boot).toBeLessThan(1_000);
    // nothing but what was written under that id
    const { found, lost } = await readAll(made, 0n);
    for (const [id, { topic, payload }] of found) {
      const expected = written.get(id);
      expect(expected?.topic, formatMessageId(id)).toBe(topic);
      expect(expected?.payload.equals(payload), formatMessageId(id)).toBe(true);
    }
    // a queue never begins behind what its reader has not got
    const at = log.cursor('cloud') ?? -1n;
    expect(at <= cursor || at <= log.head, `cursor at ${formatMessageId(at)}`).toBe(true);
    // what is missing was told
    const missing = written.size - found.size;
    const told = health.active().map(({ code, detail }) => `${code}: ${detail}`);
    expect(lost, lines.join('\n')).toBeLessThanOrEqual(missing);
    const unsaid = missing > 0 && lost < missing && !told.some((one) => one.startsWith('store_damaged'));
    if (unsaid) {
      // no more than the end of the journal, which looks as after a power cut
      const tail = /journal|\.log/.test(done.text) && state === 'open';
      expect(tail ? '' : `${missing} missing, ${lost} told`, lines.join('\n')).toBe('');
    }
    // it goes on, over what compaction finds
    const later = new Map<bigint, { readonly topic: string; readonly payload: Buffer }>();
    await fill(made, 20, random, later);
    await within(clock, log.stop(), 'it stops');
    made = bench(directory);
    await started(directory, made);
    await fill(made, 20, random, later);
    const again = await readAll(made, 0n);
    for (const [id, { payload }] of later) expect(again.found.get(id)?.payload.equals(payload)).toBe(true);
    for (const [id, { payload }] of again.found)
      expect((written.get(id) ?? later.get(id))?.payload.equals(payload)).toBe(true);
    for (const id of later.keys()) expect(written.has(id)).toBe(false);
    expect(again.found.size).toBe(found.size + later.size);
    await within(made.clock, made.log.stop(), 'it stops');
    const how = /"how":"(\w+)"/.exec(lines.find((line) => line.startsWith('the log is open')) ?? '')?.[1] ?? '';
    const aside = (await readdir(directory)).filter((name) => name.includes('corrupt'));
    if (how === 'moved_aside') expect(aside.length).toBeGreaterThan(0);
    made = undefined;
    return { done, missing, lost, how };
  } catch (thrown) {
    const text = `${state}, ${done.text}\n${made?.lines.join('\n')}`;
    throw new Error(`${text}\n${thrown instanceof Error ? thrown.message : thrown}`, { cause: thrown });
  } finally {
    if (made !== undefined) await within(made.clock, made.log.stop(), 'it stops').catch(() => undefined);
    await rm(directory, { recursive: true, force: true });
  }
}

describe('a log whose files were damaged', () => {
  it(`opens, gives nothing wrong and says what is lost, ${damages} times`, {
    timeout: 60_000 + damages * 5_000,
  }, async () => {
    const failures: string[] = [];
    const tally = new Map<string, number>();
    let missing = 0;
    let told = 0;
    for (let n = 0; n < damages; n++) {
      const random = generator(seed * 1_000_000 + n);
      const state = random() < 0.5 ? 'closed' : 'open';
      try {
        const result = await trial(state, random);
        missing += result.missing;
        told += result.lost;
        tally.set(result.how, (tally.get(result.how) ?? 0) + 1);
      } catch (thrown) {
        failures.push(`#${n} ${thrown instanceof Error ? thrown.message : thrown}`);
      }
    }
    console.log(JSON.stringify({ damages, failures: failures.length, missing, told, ...Object.fromEntries(tally) }));
    expect(failures.join('\n\n')).toBe('');
  });
});
