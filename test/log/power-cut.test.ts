import { cp, mkdtemp, readdir, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/index.ts';
import { AtomicNumberFile, LevelStore, Log, type Store, type Write } from '../../src/log/index.ts';
import { Health, Metrics, silentLogger } from '../../src/telemetry/index.ts';
import { FakeDisk } from '../support/fake-disk.ts';
import { defaults, message, readAll } from './support.ts';

/**
 * Power cuts under a real LevelDB: its directory is copied at a random moment, and of the journal only what was synced is
 * certain to be in the copy; a random part of the rest is, torn anywhere. The copy is opened, and must hold all that was
 * acknowledged and not delivered.
 *
 * CUTS=1000 is the full run.
 */
const cuts = Number(process.env.CUTS ?? 60);

/** Cuts after which it begins with an empty directory, so that a long run does not slow down. */
const generation = 40;

const made: string[] = [];

afterAll(async () => {
  for (const directory of made) await rm(directory, { recursive: true, force: true });
});

async function newest(directory: string): Promise<string> {
  const journals = (await readdir(directory)).filter((name) => name.endsWith('.log')).sort();
  return join(directory, journals.at(-1) ?? '');
}

/** A LevelDB that knows how much of its journal is on the disk for certain. */
class CuttableStore implements Store {
  readonly directory: string;
  readonly #store: LevelStore;
  #last: Promise<void> = Promise.resolve();
  #journal = '';
  #synced = 0;

  constructor(directory: string) {
    this.directory = directory;
    this.#store = new LevelStore(directory);
  }

  open = () => this.#store.open();
  close = () => this.#store.close();
  get = (key: Buffer) => this.#store.get(key);
  entries = (range: Parameters<Store['entries']>[0]) => this.#store.entries(range);
  clear = (range: Parameters<Store['clear']>[0]) => this.#store.clear(range);
  compact = (range: Parameters<Store['compact']>[0]) => this.#store.compact(range);
  size = (range: Parameters<Store['size']>[0]) => this.#store.size(range);

  /** One after the other, so that the journal's size after a synced one is what is on the disk. */
  write(writes: readonly Write[], sync: boolean): Promise<void> {
    const written = this.#last.then(async () => {
      await this.#store.write(writes, sync);
      if (!sync) return;
      this.#journal = await newest(this.directory);
      this.#synced = (await stat(this.#journal)).size;
    });
    this.#last = written.catch(() => undefined);
    return written;
  }

  /** What a cut leaves, in a directory of its own. `begun`: this is the moment of it. */
  async cut(to: string, random: () => number, begun: () => void): Promise<void> {
    // between two writes of ours, or while one is on its way: LevelDB itself writes nothing but the journal here
    if (random() < 0.5) await this.#last;
    begun();
    const copy = async (): Promise<[string, number]> => {
      const known: [string, number] = [this.#journal, this.#synced];
      try {
        await cp(this.directory, to, { recursive: true });
        return known;
      } catch (thrown) {
        // LevelDB has merged tables meanwhile and deleted one
        if (!(thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT')) throw thrown;
        await rm(to, { recursive: true, force: true });
        return copy();
      }
    };
    const [journal, synced] = await copy();
    const copied = join(to, journal.slice(this.directory.length + 1));
    const { size } = await stat(copied);
    await truncate(copied, Math.min(size, synced + Math.floor(random() * (size - synced + 1))));
  }
}

function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

describe('a power cut', () => {
  it(`loses nothing that was acknowledged, over ${cuts} of them`, { timeout: 60_000 + cuts * 1_000 }, async () => {
    const random = generator(20_261_125);
    const place = await mkdtemp(join(tmpdir(), 'holdfast-cut-'));
    made.push(place);
    const promised = new Map<bigint, string>();
    let directory = join(place, '0');
    let serial = 0;
    let acknowledged = 0;
    let lost = 0;
    let duplicates = 0;
    for (let cut = 1; cut <= cuts; cut++) {
      const store = new CuttableStore(directory);
      const log = new Log({
        store,
        bootFile: new AtomicNumberFile(join(place, 'boot')),
        space: new FakeDisk(),
        clock: systemClock,
        quality: () => 'synced',
        logger: silentLogger,
        metrics: new Metrics(),
        health: new Health(systemClock),
        options: { ...defaults, commitDelay: 5, lazyDelay: 10 },
      });
      await log.start();
      const { messages } = await readAll(log, 0n);
      const found = new Map(messages.map((one) => [one.id, String(one.payload)]));
      for (const [id, payload] of promised) if (found.get(id) !== payload) lost += 1;
      duplicates += messages.length - new Set(messages.map((one) => String(one.payload))).size;
      // an upstream that takes some, and acknowledges some of those
      let over = false;
      const taken: bigint[] = [];
      const delivered = new Set<bigint>();
      log.deliverThrough({
        takes: (_message, id) => {
          if (random() < 0.3) return 'later';
          taken.push(id);
          return 'now';
        },
      });
      const rounds = 1 + Math.floor(random() * 4);
      for (let round = 0; round < rounds; round++) {
        const waiting: Promise<void>[] = [];
        for (let n = Math.floor(random() * 20); n >= 0; n--) {
          const payload = `${serial++}`.padEnd(Math.floor(random() * 2_000), '.');
          waiting.push(
            new Promise((resolve) => {
              const id = log.append(message(payload), (error) => {
                if (error === undefined && !over) {
                  acknowledged += 1;
                  if (!delivered.has(id)) promised.set(id, payload);
                }
                resolve();
              });
            }),
          );
          log.events.record({ kind: 'delivered', message: log.next, clientId: 'a@app', qos: 1 });
        }
        for (const id of taken.splice(0)) {
          if (random() < 0.5) continue;
          delivered.add(id);
          log.delivered(id);
        }
        if (round < rounds - 1 || random() < 0.5) await Promise.all(waiting);
      }
      const next = join(place, String(cut));
      await store.cut(next, random, () => {
        over = true;
      });
      await log.stop();
      await rm(directory, { recursive: true });
      directory = next;
      if (cut % generation !== 0) continue;
      directory = join(place, `${cut}-anew`);
      promised.clear();
    }
    console.log(JSON.stringify({ cuts, acknowledged, lost, duplicates }));
    expect([lost, duplicates]).toEqual([0, 0]);
    expect(acknowledged).toBeGreaterThan(cuts * 10);
  });
});
