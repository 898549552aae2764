import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StateDisk } from '../../src/log/index.ts';
import { Health, Metrics, silentLogger } from '../../src/telemetry/index.ts';
import { FakeClock } from '../support/fake-clock.ts';

const MiB = 1024 * 1024;
let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'holdfast-state-disk-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** A disk of 10 GiB, whose marks are at 256 and at 64 MiB, with `free` MiB left. */
async function diskWith(free: number) {
  const state = { free, looks: 0 };
  const disk = new StateDisk({
    directory,
    health: new Health(new FakeClock()),
    logger: silentLogger,
    metrics: new Metrics(),
    measure: async () => {
      state.looks += 1;
      return { bavail: state.free * 256, blocks: 10_240 * 256, bsize: 4_096 };
    },
  });
  await disk.look();
  /** Seconds go by; how often it looked meanwhile. */
  const seconds = async (count: number) => {
    const before = state.looks;
    for (let second = 0; second < count; second++) await disk.watch();
    return state.looks - before;
  };
  return { disk, state, seconds };
}

describe('the disk of a state directory', () => {
  it('is looked at every fifth second while nothing is written and there is ample room', async () => {
    const { disk, state, seconds } = await diskWith(5_000);
    expect(await seconds(25)).toBe(5);
    state.free = 60;
    await seconds(5);
    expect(disk.level).toBe('full');
  });

  it('is looked at each second while something is written, and in the second after that', async () => {
    const { disk, seconds } = await diskWith(5_000);
    for (let second = 0; second < 3; second++) {
      disk.spend(1_000);
      expect(await seconds(1)).toBe(1);
    }
    expect(await seconds(1)).toBe(1);
    expect(await seconds(4)).toBe(0);
  });

  it('is looked at for the first write after a rest, since others may have filled it', async () => {
    const { disk, state, seconds } = await diskWith(5_000);
    await seconds(1);
    expect(disk.spend(1_000)).toBe(true);
    state.free = 60;
    await disk.watch();
    expect(disk.level).toBe('full');
  });

  it('is not looked at for each write that there is room for', async () => {
    const { disk } = await diskWith(5_000);
    expect(disk.spend(1_000)).toBe(false);
    expect(disk.spend(2_000 * MiB)).toBe(true);
    expect(disk.level).toBe('fine');
    disk.spend(2_000 * MiB);
    expect(disk.level).toBe('full');
  });

  it('that had no room for a write is looked at each second, whatever it says of its room', async () => {
    const { disk, seconds } = await diskWith(5_000);
    await seconds(1);
    await disk.exhausted();
    expect(disk.level).toBe('full');
    expect(await seconds(1)).toBe(1);
    expect(disk.level).toBe('fine');
  });

  it.each([
    ['near the mark for little room', 500, 'fine'],
    ['with little room', 200, 'low'],
    ['when it is full', 60, 'full'],
  ])('is looked at each second %s, so that it is known at once what changes', async (_when, free, level) => {
    const { disk, state, seconds } = await diskWith(free);
    expect(disk.level).toBe(level);
    expect(await seconds(4)).toBe(4);
    state.free = 5_000;
    await seconds(1);
    expect(disk.level).toBe('fine');
  });
});
