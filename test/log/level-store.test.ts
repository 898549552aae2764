import { randomBytes } from 'node:crypto';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LevelStore, type Store } from '../../src/log/index.ts';
import { silentLogger } from '../../src/telemetry/index.ts';

let place: string;
let directory: string;

beforeEach(async () => {
  place = await mkdtemp(join(tmpdir(), 'holdfast-level-'));
  directory = join(place, 'db');
});

afterEach(() => rm(place, { recursive: true, force: true }));

const everything = { gte: Buffer.from([0]), lt: Buffer.from([0xff]) };
const files = (pattern: RegExp) => readdirSync(directory).filter((name) => pattern.test(name));
const key = (n: number) => Buffer.from(`k${`${n}`.padStart(5, '0')}`);

async function contents(store: Store): Promise<string[]> {
  const keys: string[] = [];
  for await (const [found] of store.entries(everything)) keys.push(found.toString());
  return keys;
}

/** A store whose entries are in a table, none of them in the journal. */
async function tabled(count: number): Promise<void> {
  const store = new LevelStore(directory);
  await store.open();
  for (let n = 0; n < count; n++) await store.write([{ type: 'put', key: key(n), value: randomBytes(400) }], false);
  await store.close();
  await store.open();
  await store.close();
}

/** Changes a bit in the middle of the first table. */
function flip(): void {
  const [name = ''] = files(/ldb$/);
  const bytes = readFileSync(join(directory, name));
  bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 4, bytes.length >> 1);
  writeFileSync(join(directory, name), bytes);
}

describe('a LevelDB directory', () => {
  it('whose opening was begun is opened once, and closed if nobody asks for it', async () => {
    const store = new LevelStore(directory);
    store.begin();
    expect(await store.open()).toMatchObject({ how: 'created' });
    await store.write([{ type: 'put', key: key(1), value: key(1) }], true);
    await store.close();
    store.begin();
    await store.close();
    const other = new LevelStore(directory);
    expect(await other.open()).toMatchObject({ how: 'opened' });
    store.begin();
    await expect(store.open()).rejects.toMatchObject({ code: 'start_failed' });
    expect(await contents(other)).toEqual(['k00001']);
    await other.close();
  });

  it('without CURRENT is not begun anew, and keeps all that it had', async () => {
    await tabled(100);
    rmSync(join(directory, 'CURRENT'));
    const store = new LevelStore(directory);
    expect(await store.open()).toMatchObject({ how: 'repaired', reason: expect.stringContaining('CURRENT') });
    expect(await contents(store)).toHaveLength(100);
    await store.close();
  });

  it('loses the block whose checksum is wrong, and no other, where all is read at its start', async () => {
    await tabled(200);
    flip();
    const store = new LevelStore(directory);
    const opening = await store.open();
    expect(opening).toMatchObject({ how: 'repaired', reason: expect.stringMatching(/ldb is damaged/) });
    const left = (await contents(store)).length;
    expect(left).toBeLessThan(200);
    expect(left).toBeGreaterThan(170);
    expect(existsSync(`${directory}.corrupt-1`)).toBe(true);
    await store.close();
  });

  it('that is too large for that is read whole where it ended the process in a merge', async () => {
    await tabled(200);
    flip();
    const store = new LevelStore(directory, { verify: 0 });
    expect((await store.open()).how).toBe('opened');
    await store.close();
    appendFileSync(join(directory, 'LOG'), '2026/01/01-00:00:00.000000 7f Compacting 4@0 + 1@1 files\n');
    expect((await store.open()).how).toBe('repaired');
    await store.close();
  });

  it('whose journal is shorter than it was at an orderly end says so, and not after a power cut', async () => {
    const store = new LevelStore(directory);
    await store.open();
    for (let n = 0; n < 50; n++) await store.write([{ type: 'put', key: key(n), value: randomBytes(100) }], false);
    await store.close();
    const [journal = ''] = files(/log$/);
    const bytes = readFileSync(join(directory, journal));
    const cut = () => writeFileSync(join(directory, journal), bytes.subarray(0, bytes.length - 300));
    cut();
    expect(await store.open()).toMatchObject({ passedOver: expect.stringContaining(journal) });
    await store.close();
    rmSync(directory, { recursive: true });
    await store.open();
    await store.write([{ type: 'put', key: key(1), value: randomBytes(500) }], false);
    await store.close();
    rmSync(join(directory, 'CLOSED'));
    const [other = ''] = files(/log$/);
    const whole = readFileSync(join(directory, other));
    writeFileSync(join(directory, other), whole.subarray(0, whole.length - 100));
    expect(await store.open()).toEqual({ how: 'opened' });
    await store.close();
  });

  it('is never repaired under a process that has it open', async () => {
    const store = new LevelStore(directory);
    await store.open();
    const current = readFileSync(join(directory, 'CURRENT'));
    rmSync(join(directory, 'CURRENT'));
    await expect(new LevelStore(directory).open()).rejects.toMatchObject({ code: 'start_failed' });
    expect(existsSync(join(directory, 'lost'))).toBe(false);
    writeFileSync(join(directory, 'CURRENT'), current);
    await store.close();
  });

  it('that was given up is kept aside, the newest as many as are wanted, and who went is said', async () => {
    const said: object[] = [];
    const logger = { ...silentLogger, warn: (fields: object) => said.push(fields) };
    mkdirSync(`${directory}.corrupt-7`);
    writeFileSync(join(`${directory}.corrupt-7`, 'old'), 'x'.repeat(1_000));
    for (const text of ['one', 'two']) {
      rmSync(directory, { recursive: true, force: true });
      writeFileSync(directory, text);
      const store = new LevelStore(directory, { keep: 2, logger });
      expect((await store.open()).how).toBe('moved_aside');
      await store.close();
    }
    const kept = readdirSync(place).filter((name) => name.includes('corrupt'));
    expect(kept.sort()).toEqual(['db.corrupt-8', 'db.corrupt-9']);
    expect(said).toEqual([{ path: `${directory}.corrupt-7`, bytes: 1_000 }]);
  });

  it('with a bound keeps its own notes within it, while it is read and written all the time', async () => {
    const maxBytes = 2 << 20;
    const store = new LevelStore(directory, { maxBytes });
    await store.open();
    const manifests = new Set<string>();
    let [diary, list, reads, over] = [0, 0, 0, false];
    const put = (n: number) => store.write([{ type: 'put', key: key(n % 40), value: randomBytes(16_384) }], false);
    await put(0);
    const reading = (async () => {
      for (; !over; reads++) {
        for await (const [found, value] of store.entries(everything))
          expect([found.length, value.length]).toEqual([6, 16_384]);
        expect(await store.get(key(0))).toHaveLength(16_384);
        for (let turn = 0; turn < 20; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
      }
    })();
    for (let n = 0; n < 1_500; n++) {
      await put(n);
      if (n % 50 !== 0) continue;
      const bytesOf = (name: string) => (statSync(join(directory, name), { throwIfNoEntry: false })?.blocks ?? 0) * 512;
      diary = Math.max(diary, bytesOf('LOG'));
      for (const name of files(/^MANIFEST/)) {
        manifests.add(name);
        list = Math.max(list, bytesOf(name));
      }
    }
    over = true;
    await reading;
    expect(reads).toBeGreaterThan(10);
    expect(manifests.size).toBeGreaterThan(1);
    expect(Math.max(diary, list)).toBeLessThan(maxBytes / 32);

    expect(await contents(store)).toHaveLength(40);
    await store.close();
    expect(await store.open()).toEqual({ how: 'opened' });
    expect(await contents(store)).toHaveLength(40);
    await store.close();
  }, 180_000);
});
