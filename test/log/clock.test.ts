import { describe, expect, it } from 'vitest';
import type { ClockQuality } from '../../src/domain/index.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { MemoryNumberFile, MemoryStore } from '../support/memory-store.ts';
import { makeLog, message, readAll, settle } from './support.ts';

const year = 365 * 86_400_000;

/** A board that wakes up in 1970, and a log on it; `set` is what NTP does. */
async function wake(store = new MemoryStore(), bootFile = new MemoryNumberFile()) {
  const clock = new FakeClock(1_000);
  let quality: ClockQuality = 'unsynced';
  const bench = makeLog(store, { clock, bootFile, quality: () => quality, options: { recentBytes: 64 } });
  await bench.log.start();
  const pass = async (ms: number) => {
    clock.advance(ms);
    await settle(clock);
  };
  return {
    ...bench,
    store,
    bootFile,
    pass,
    append: async (payload: string) => {
      bench.log.append(message(payload), () => undefined);
      await settle(clock);
    },
    set: async (wall: number) => {
      clock.step(wall - clock.wall());
      quality = 'synced';
      await pass(1_000);
    },
  };
}

const now = Date.UTC(2026, 5, 1);

describe('what was recorded before the clock was set', () => {
  it('is told with the time that it really was, once that is known, and over a restart', async () => {
    const { log, append, pass, set, store, bootFile } = await wake();
    await append('first');
    log.events.record({ kind: 'delivered', message: log.next - 1n, clientId: 'a@app', qos: 1 });
    await pass(60_000);
    await append('a minute later');
    const before = (await readAll(log, 0n)).messages;
    expect(before.map((one) => [one.time, one.timeQuality])).toEqual([
      [1_000, 'unsynced'],
      [61_000, 'unsynced'],
    ]);
    await pass(10_000);
    await set(now);
    await append('after');
    const times = async (of: typeof log) =>
      (await readAll(of, 0n)).messages.map((one) => [one.time - now, one.timeQuality]);
    const expected = [
      [-70_000, 'synced'],
      [-10_000, 'synced'],
      [1_000, 'synced'],
    ];
    expect(await times(log)).toEqual(expected);
    const events = await log.events.read(log.events.head, { bytes: 1e6 });
    expect(Array.from(events.events, (one) => [one.time - now, one.timeQuality])).toEqual([[-70_000, 'synced']]);
    await log.stop();
    const again = await wake(store, bootFile);
    expect(await times(again.log)).toEqual(expected);
    // and that of a boot whose clock was never set is not made up
    await again.append('in 1970 again');
    expect((await readAll(again.log, 0n)).messages.at(-1)).toMatchObject({ time: 1_000, timeQuality: 'unsynced' });
  });

  it('stays as it was through later steps of a clock that is set', async () => {
    const { log, append, set, clock, pass } = await wake();
    await append('first');
    await set(now);
    await append('second');
    clock.step(-2 * year);
    await pass(1_000);
    await append('third');
    clock.step(5 * year);
    await pass(1_000);
    const { messages } = await readAll(log, 0n);
    expect(messages.map((one) => String(one.payload))).toEqual(['first', 'second', 'third']);
    expect(messages.map((one) => one.time - now)).toEqual([0, 1_000, 2_000 - 2 * year]);
    const ages = messages.map((one) => log.age(one));
    expect(ages).toEqual([3_000, 2_000, 1_000]);
  });
});
