import { describe, expect, it } from 'vitest';
import type { Dropped, QueueOptions } from '../../src/log/index.ts';
import { MemoryNumberFile, MemoryStore } from '../support/memory-store.ts';
import { makeLog, message, settle } from './support.ts';

const kilobytes = (count: number) => Buffer.alloc(count * 1_024, 'x');

/** A log with one queue from its beginning on, and what the queue was told of. */
async function setUp(queue: Partial<QueueOptions>, store = new MemoryStore(), bootFile = new MemoryNumberFile()) {
  const dropped: Dropped[] = [];
  const { log, clock } = makeLog(store, {
    bootFile,
    options: { history: { maxBytes: 1, maxAge: 1e12, maxRecords: 1e9 } },
  });
  await log.start();
  log.holdFor('cloud', {
    maxBytes: 1e9,
    maxRecords: 1e9,
    overflow: 'drop_oldest',
    dropped: (gap) => dropped.push(gap),
    ...queue,
  });
  const upkeep = async () => {
    clock.advance(1_000);
    await settle(clock);
  };
  const append = async (count: number, qos: 0 | 1, size = 64) => {
    for (let at = 0; at < count; at++) {
      log.append(message(kilobytes(size), 'a', { qos }), () => undefined);
      await settle(clock, 2);
    }
  };
  return { log, clock, dropped, upkeep, append };
}

describe('a queue that meets a bound', () => {
  it('gives up its messages of QoS 0 first, from the oldest on, and no more than it must', async () => {
    const { log, upkeep, append, dropped } = await setUp({ maxBytes: 4 * 1_024 * 1_024 });
    const first = log.next;
    for (let at = 0; at < 34; at++) {
      await append(1, 0);
      await append(1, 1);
    }
    await upkeep();
    const shed = log.shedBelow('cloud');
    expect(shed).toBeGreaterThan(first);
    expect(shed).toBeLessThan(log.next - 34n);
    expect(dropped).toEqual([]);
    expect(log.queued('cloud').bytes).toBeLessThanOrEqual(4 * 1_024 * 1_024);
    expect(log.queued('cloud').messages).toBe(68 - Math.round(Number(shed - first) / 2));
    expect(log.head).toBe(first);
  });

  it('then its oldest, and tells which; the cursor has moved', async () => {
    const { log, upkeep, append, dropped } = await setUp({ maxBytes: 4 * 1_024 * 1_024 });
    const first = log.next;
    await append(100, 1);
    await upkeep();
    expect(dropped.map(({ reason }) => reason)).toEqual(dropped.map(() => 'overflow'));
    expect(dropped.map(({ from }) => from)).toEqual([first, ...dropped.slice(0, -1).map(({ to }) => to)]);
    expect(dropped.at(-1)?.to).toBe(log.head);
    expect(dropped.reduce((sum, { count }) => sum + count, 0)).toBe(Number(log.head - first));
    const told = dropped.length;
    expect(log.cursor('cloud')).toBe(log.head);
    expect(log.queued('cloud').bytes).toBeLessThanOrEqual(4 * 1_024 * 1_024);
    await upkeep();
    expect(dropped).toHaveLength(told);
  });

  it('does not hold more than a fifth beyond its bound on the disk, however much of that was given up', async () => {
    const { log, upkeep, append, dropped } = await setUp({ maxBytes: 4 * 1_024 * 1_024 });
    for (let round = 0; round < 10; round++) {
      await append(19, 0);
      await append(1, 1);
      await upkeep();
    }
    expect(log.size.bytes).toBeLessThanOrEqual(1.2 * 4 * 1_024 * 1_024);
    expect(dropped.every(({ reason }) => reason === 'overflow')).toBe(true);
  });

  it('takes on while it rejects, as long as giving up QoS 0 is enough', async () => {
    const { log, upkeep, append } = await setUp({ maxRecords: 10, overflow: 'reject' });
    await append(8, 0, 1);
    await append(8, 1, 1);
    await upkeep();
    expect(log.queued('cloud').messages).toBe(8);
    await append(3, 1, 1);
    await upkeep();
    expect(() => log.append(message('x'), () => undefined)).toThrow(/full/);
  });

  it('counts QoS 0 anew after a restart, closed runs and the open one', async () => {
    const store = new MemoryStore();
    const bootFile = new MemoryNumberFile();
    const before = await setUp({}, store, bootFile);
    await before.append(10, 1);
    await before.append(40, 0);
    const first = before.log.head;
    await before.log.stop();
    const { log, upkeep } = await setUp({ maxRecords: 11 }, store, bootFile);
    await upkeep();
    // of eleven at most one is of QoS 0
    expect(log.queued('cloud').messages).toBeGreaterThanOrEqual(10);
    expect(log.queued('cloud').messages).toBeLessThanOrEqual(11);
    expect(log.head).toBe(first);
  });

  it('tells of what was too old as such', async () => {
    const { log, clock, upkeep, append, dropped } = await setUp({ maxAge: 60_000 });
    await append(40, 1);
    clock.advance(120_000);
    await append(1, 1);
    await upkeep();
    expect(dropped).toMatchObject([{ reason: 'age' }]);
    expect(log.cursor('cloud')).toBe(log.head);
  });
});

async function countOf(entries: AsyncIterable<unknown>): Promise<number> {
  let count = 0;
  for await (const _entry of entries) count += 1;
  return count;
}

/** A store whose compactions wait until they are let go. */
class SlowStore extends MemoryStore {
  #waiting: (() => void)[] = [];

  override async compact(): Promise<void> {
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  go(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

describe('a history that exceeds its bound', () => {
  it('is not added to while its space is being given back, and what came in meanwhile follows', async () => {
    const store = new SlowStore();
    const history = { maxBytes: 8 * 1_024 * 1_024, maxAge: 1e12, maxRecords: 1e9 };
    const { log, clock } = makeLog(store, { options: { history, commitDelay: 0, maxPendingBytes: 1e9 } });
    await log.start();
    let [accepted, written] = [0, 0];
    const kept: Promise<number>[] = [];
    const append = async (count: number) => {
      for (let n = 0; n < count; n++) {
        // what is to be kept beside the log is there once its message is
        const key = `k${accepted++}.`;
        const done = () => {
          written += 1;
          kept.push(countOf(log.kept(key)));
        };
        log.append(message(kilobytes(16), 'a'), done, { key, keep: true });
        await settle(clock, 2);
      }
    };
    // far more than the bound: a compaction is under way, and a sixteenth may be written beside it
    await append(700);
    const before = written;
    expect(before).toBeLessThan(700);
    expect(log.size.bytes).toBeLessThan(history.maxBytes);
    await append(50);
    expect(written).toBe(before);
    for (let round = 0; round < 50; round++) {
      store.go();
      await settle(clock, 4);
    }
    expect(written).toBe(750);
    expect(await Promise.all(kept)).toEqual(Array(750).fill(1));
    await log.stop();
  });
});

describe('a cursor', () => {
  it('that has moved over thousands of messages is fsynced, so that a power cut does not have all of them sent again', async () => {
    const store = new MemoryStore();
    const bootFile = new MemoryNumberFile();
    const { log, clock, upkeep } = await setUp({}, store, bootFile);
    for (let at = 0; at < 8_000; at++) log.append(message('x'), () => undefined);
    await settle(clock);
    log.moveCursor('cloud', log.next - 7_000n);
    await upkeep();
    const few = (await setUp({}, store.afterPowerCut(), bootFile)).log.cursor('cloud');
    expect(few).toBeLessThan(log.next - 7_000n);
    log.moveCursor('cloud', log.next - 10n);
    await upkeep();
    const most = (await setUp({}, store.afterPowerCut(), bootFile)).log.cursor('cloud');
    expect(most).toBe(log.next - 10n);
    // while little has moved since, no fsync is spent on it
    log.moveCursor('cloud', log.next);
    await upkeep();
    expect(store.unsynced).toBeGreaterThan(0);
  });
});
