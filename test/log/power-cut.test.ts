import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bootOf, formatMessageId } from '../../src/domain/index.ts';
import { type EntriesOnFsync, readTree, type Tail, TracedDisk, type Tree, writeTree } from '../support/power/disk.ts';
import { logAt, upstream } from '../support/power/log.ts';
import { generator, payloadOf } from '../support/power/payload.ts';
import { PowerBench } from '../support/power/run.ts';
import { readAll } from './support.ts';

/**
 * Power cuts at every point of a real LevelDB: a process of its own writes a log under a file layer that ends it at any
 * operation on the disk, and of what it did only what was fsynced is certain to be left. What is left is opened, and must hold
 * all that was acknowledged and not delivered; the next run goes on from it.
 *
 * CUTS=1000 is the full run.
 */
const cuts = Number(process.env.CUTS ?? 40);

/** Cuts after which it begins with an empty disk, so that a long run does not slow down. */
const generation = 10;

/** Runs at a time. */
const lanes = 2;

/** LevelDB's buffer: the smallest that it takes, so that it changes journals and merges tables all the time, and ours. */
const buffers = [64 << 10, 64 << 10, 64 << 10, 4 << 20] as const;
const entries = ['all', 'journals'] as const;
const tails: readonly [Tail, ...Tail[]] = ['torn', 'torn', 'zeros', 'pages'];

let place: string;
let bench: PowerBench;

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'holdfast-power-'));
  bench = await PowerBench.build(place);
});

afterAll(async () => {
  await bench?.stop();
  await rm(place, { recursive: true, force: true });
});

/** What the runs of one generation said, and what was wrong with it. */
class Said {
  readonly serials = new Map<bigint, number>();
  readonly acknowledged = new Set<bigint>();
  readonly delivered = new Set<bigint>();
  readonly wrong: string[] = [];
  boot = 0;
  place = 0n;
  /** Whether the store was open since it was created, or had to be repaired. */
  sound = false;

  take(line: string): void {
    const [what = '', first = '', second] = line.split(' ');
    if (!/^\d+$/.test(first)) {
      this.wrong.push(line);
      return;
    }
    const number = BigInt(first);
    if (what === 'boot') {
      if (Number(first) <= this.boot) this.wrong.push(`boot ${first} again`);
      this.boot = Number(first);
      this.sound = true;
    } else if (what === 'took') {
      if (this.serials.has(number)) this.wrong.push(`id ${first} again`);
      this.serials.set(number, Number(second));
    } else if (what === 'acknowledged') this.acknowledged.add(number);
    else if (what === 'delivered') this.delivered.add(number);
    else if (number > this.place) this.place = number;
  }
}

/** What opening the log finds of what was promised. */
async function look(directory: string, buffer: number, said: Said) {
  const { log, store, start } = logAt(directory, buffer);
  await start();
  try {
    const { messages } = await readAll(log, 0n);
    const found = new Map<bigint, Uint8Array>(messages.map(({ id, payload }) => [id, payload]));
    const cursor = log.cursor(upstream) ?? 0n;
    const done = log.done(upstream);
    const waits = (id: bigint) => id >= cursor && !done.some(({ from, to }) => id >= from && id < to);
    const right = (id: bigint) => payloadOf(said.serials.get(id) ?? -1).equals(found.get(id) ?? new Uint8Array());
    const lost = [...said.acknowledged].filter((id) => !said.delivered.has(id) && !(right(id) && waits(id)));
    const again = [...said.delivered].filter((id) => found.has(id) && waits(id));
    const wrong: string[] = [];
    if (lost.length > 0) wrong.push(`${lost.length} lost, from ${formatMessageId(lost[0] ?? 0n)} on`);
    for (const id of found.keys())
      if (said.serials.has(id) && !right(id)) wrong.push(`${formatMessageId(id)} is another`);
    const early = again.filter((id) => id < said.place);
    if (early.length > 0) wrong.push(`${early.length} sent again from below a cursor that was fsynced`);
    if (bootOf(log.next) <= said.boot) wrong.push(`boot ${bootOf(log.next)} again`);
    return { opening: store.opening, wrong, lost: lost.length, duplicates: again.length };
  } finally {
    await log.stop();
  }
}

/**
 * Whether LevelDB may have to be repaired, which loses nothing. It never fsyncs the manifest of a store that is created or
 * repaired: it is `sound` once it was open since. It writes to the manifest before it fsyncs the directory, so that a table may
 * be without its name there; and opening it names another manifest and deletes the journal that is in its tables now, of which
 * the latter may be there without the former. What is left of a record with zeros in it does not look unfinished, but damaged.
 */
function mayNeedRepair(reason: string, sound: boolean, onFsync: EntriesOnFsync, tail: Tail): boolean {
  if (!sound) return true;
  if (/missing files|\.(?:ldb|sst) is missing|lacks its end/.test(reason)) return onFsync === 'journals';
  return reason.includes('checksum mismatch') && tail !== 'torn';
}

/** Paths at which two trees are not the same. */
function differences(one: Tree, other: Tree): string[] {
  const same = (path: string) => {
    const [here, there] = [one.get(path), other.get(path)];
    return here instanceof Buffer && there instanceof Buffer ? here.equals(there) : here === there;
  };
  return [...new Set([...one.keys(), ...other.keys()])].filter((path) => !same(path));
}

/** Runs one behind the other, each on what the cut before it left. */
class Lane {
  readonly figures = { cuts: 0, acknowledged: 0, lost: 0, duplicates: 0, repaired: 0 };
  readonly operations = new Map<string, number>();
  readonly problems: string[] = [];
  readonly #name: string;
  readonly #random: () => number;

  constructor(number: number) {
    this.#name = `${number}`;
    this.#random = generator(20_261_125 + number);
  }

  async generation(numbers: readonly number[]): Promise<void> {
    const said = new Said();
    const buffer = this.#one(buffers);
    const onFsync = this.#one(entries);
    let directory = join(place, `${this.#name}-${numbers[0]}-empty`);
    await mkdir(directory);
    for (const number of numbers) {
      const left = join(place, `${this.#name}-${number}`);
      const wrong = await this.#cut(number, directory, left, { said, buffer, onFsync });
      await rm(directory, { recursive: true });
      directory = left;
      if (wrong.length === 0) continue;
      this.problems.push(...wrong);
      break;
    }
    await rm(directory, { recursive: true });
  }

  /** One run on `directory`, and what it leaves at `to`. */
  async #cut(
    number: number,
    directory: string,
    to: string,
    { said, buffer, onFsync }: { said: Said; buffer: number; onFsync: EntriesOnFsync },
  ): Promise<string[]> {
    const { figures, operations } = this;
    const rare = this.#random() < 0.5;
    const most = buffer > 1 << 20 ? (rare ? 35 : 160) : rare ? 90 : 250;
    const at = 1 + Math.floor(this.#random() * most);
    const before = await readTree(directory);
    const acknowledged = said.acknowledged.size;
    const run = { directory, seed: number, firstSerial: number * 1_000, messages: 300, buffer, at, rare };
    const { said: lines, trace } = await bench.run(run);
    for (const line of lines) said.take(line);
    const disk = TracedDisk.from(before, trace, onFsync);
    const wrong = said.wrong.splice(0);
    for (const path of differences(disk.written, await readTree(directory))) wrong.push(`${path} escaped the layer`);
    const tail = this.#one(tails);
    const left = disk.left(this.#random, tail);
    await writeTree(to, left);
    const copy = `${to}-copy`;
    await writeTree(copy, left);
    const found = await look(join(copy, 'state'), buffer, said);
    await rm(copy, { recursive: true });
    const { opening } = found;
    if (opening?.how === 'moved_aside') wrong.push(`moved aside: ${opening.reason}`);
    if (opening?.how === 'repaired') {
      figures.repaired += 1;
      if (!mayNeedRepair(opening.reason, said.sound, onFsync, tail)) wrong.push(`repaired: ${opening.reason}`);
      said.sound = false;
    }
    wrong.push(...found.wrong);
    figures.cuts += 1;
    figures.acknowledged += said.acknowledged.size - acknowledged;
    figures.lost += found.lost;
    figures.duplicates += found.duplicates;
    const where = disk.cutAt || 'after all';
    operations.set(where, (operations.get(where) ?? 0) + 1);
    return wrong.map((text) => `cut ${number}, at ${where}, entries ${onFsync}, ${tail}: ${text}`);
  }

  #one<T>(of: readonly [T, ...T[]]): T {
    return of[Math.floor(this.#random() * of.length)] ?? of[0];
  }
}

describe('a power cut', () => {
  it(`loses nothing that was acknowledged, over ${cuts} of them`, { timeout: 60_000 + cuts * 10_000 }, async () => {
    const all = Array.from({ length: lanes }, (_, number) => new Lane(number));
    let number = 0;
    await Promise.all(
      all.map(async (lane) => {
        while (number < cuts) {
          const numbers = Array.from({ length: Math.min(generation, cuts - number) }, (_, n) => number + n + 1);
          number += numbers.length;
          await lane.generation(numbers);
        }
      }),
    );
    const figures = { cuts: 0, acknowledged: 0, lost: 0, duplicates: 0, repaired: 0 };
    const operations: Record<string, number> = {};
    for (const lane of all) {
      for (const name of Object.keys(figures) as (keyof typeof figures)[]) figures[name] += lane.figures[name];
      for (const [name, count] of lane.operations) operations[name] = (operations[name] ?? 0) + count;
    }
    console.log(JSON.stringify({ ...figures, operations }));
    expect(all.flatMap((lane) => lane.problems)).toEqual([]);
    expect(figures.acknowledged).toBeGreaterThan(cuts * 10);
  });
});
