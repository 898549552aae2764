import { describe, expect, it } from 'vitest';
import type { Message } from '../../src/domain/index.ts';
import type { LogOptions } from '../../src/log/index.ts';
import { MemoryNumberFile, MemoryStore } from '../support/memory-store.ts';
import { makeLog, message, readAll, settle } from './support.ts';

type Answer = 'no' | 'now' | 'later';

/** A log with upstreams that answer as told; `outcomes` says what publishers were told, and when. */
async function setUp(answers: Answer[], options: Partial<LogOptions> = {}) {
  const store = new MemoryStore();
  const bootFile = new MemoryNumberFile();
  const bench = makeLog(store, { bootFile, options });
  const { log, clock } = bench;
  await log.start();
  const offered: string[] = [];
  for (const [index] of answers.entries()) {
    log.deliverThrough({
      takes: (one: Message) => {
        offered.push(`${index} ${one.payload}`);
        return answers[index] ?? 'no';
      },
    });
  }
  const outcomes: string[] = [];
  const append = (payload: string, retain = false): bigint =>
    log.append(
      message(payload, 'a', { retain }),
      (error) => outcomes.push(`${payload} ${error?.code ?? 'told'} at ${clock.monotonic()}`),
      retain ? { key: 'retained/a', keep: true } : undefined,
    );
  const pass = async (ms: number) => {
    clock.advance(ms);
    await settle(clock);
  };
  return { ...bench, store, bootFile, append, outcomes, pass, offered, answers };
}

const payloads = async (log: Parameters<typeof readAll>[0]) =>
  (await readAll(log, 0n)).messages.map((one) => String(one.payload));

describe('a message that an upstream takes at once', () => {
  it('is told of when that acknowledges it, and written later without an fsync', async () => {
    const { append, log, outcomes, pass, store } = await setUp(['now']);
    const id = append('one');
    await pass(40);
    expect([outcomes, store.count('c')]).toEqual([[], 0]);
    log.delivered(id);
    expect(outcomes).toEqual(['one told at 40']);
    await pass(459);
    expect(store.count('c')).toBe(0);
    await pass(1);
    expect([await payloads(log), store.unsynced]).toEqual([['one'], 1]);
  });

  it('goes to the disk once the delay is over, and is told of then, once', async () => {
    const { append, log, outcomes, pass, store } = await setUp(['now']);
    const id = append('one');
    await pass(99);
    expect(outcomes).toEqual([]);
    await pass(1);
    expect([outcomes, store.unsynced]).toEqual([['one told at 100'], 0]);
    log.delivered(id);
    await pass(1_000);
    expect(outcomes).toHaveLength(1);
  });

  it('is told of only when all who took it have acknowledged it', async () => {
    const { append, log, outcomes, pass } = await setUp(['now', 'no', 'now']);
    const id = append('one');
    log.delivered(id);
    await pass(10);
    expect(outcomes).toEqual([]);
    log.delivered(id);
    expect(outcomes).toEqual(['one told at 10']);
  });

  it('is at hand ahead of the disk, also while it is being written', async () => {
    const { append, log, clock, pass, store } = await setUp(['now']);
    const first = append('one');
    await pass(5);
    append('two');
    const ahead = log.ahead(first);
    expect(ahead.messages.map((one) => [one.id - first, String(one.payload), one.monotonic])).toEqual([
      [0n, 'one', 0],
      [1n, 'two', 5],
    ]);
    expect(ahead.messages[0]?.time).toBe(clock.wall() - 5);
    expect(ahead.next).toBe(first + 2n);
    store.held = true;
    await pass(100);
    append('three');
    expect(log.ahead(first + 1n).messages.map((one) => String(one.payload))).toEqual(['two', 'three']);
    expect(log.ahead(first + 3n)).toEqual({ messages: [], next: first + 3n, lost: 0 });
    store.release();
    await settle(clock);
    expect(log.next).toBe(first + 2n);
    expect(log.ahead(log.next).messages).toHaveLength(1);
  });

  it('is lost to the history at a power cut, and only then', async () => {
    const { append, log, pass, store, bootFile } = await setUp(['now']);
    log.delivered(append('delivered'));
    append('stored');
    await pass(100);
    log.delivered(append('delivered too'));
    await pass(500);
    expect(await payloads(log)).toEqual(['delivered', 'stored', 'delivered too']);
    const after = makeLog(store.afterPowerCut(), { bootFile });
    await after.log.start();
    expect(await payloads(after.log)).toEqual(['delivered', 'stored']);
  });

  it('is written at an orderly stop', async () => {
    const { append, log, store, bootFile } = await setUp(['now']);
    log.delivered(append('one'));
    append('two');
    await log.stop();
    const after = makeLog(store, { bootFile });
    await after.log.start();
    expect(await payloads(after.log)).toEqual(['one', 'two']);
  });
});

describe('what is delivered is written by itself', () => {
  it('up to the first message that is not, in order, with its time', async () => {
    const { append, log, pass, store, outcomes } = await setUp(['now'], { commitDelay: 2_000 });
    const ids = [append('one'), append('two')];
    await pass(300);
    ids.push(append('three'), append('four'));
    for (const at of [0, 1, 3]) log.delivered(ids[at] ?? 0n);
    await pass(200);
    expect(await payloads(log)).toEqual(['one', 'two']);
    expect(store.unsynced).toBe(1);
    log.delivered(ids[2] ?? 0n);
    await pass(500);
    const { messages, lost } = await readAll(log, 0n);
    expect(messages.map((one) => [String(one.payload), one.monotonic])).toEqual([
      ['one', 0],
      ['two', 0],
      ['three', 300],
      ['four', 300],
    ]);
    expect([lost, outcomes.length, store.count('c')]).toEqual([0, 4, 2]);
    const times = messages.map((one) => one.time - (messages[0]?.time ?? 0));
    expect(times).toEqual([0, 0, 300, 300]);
  });

  it('and no more often than that, whatever is under way', async () => {
    const { append, log, pass, store, metrics } = await setUp(['now']);
    let before: bigint | undefined;
    for (let n = 0; n < 500; n++) {
      const id = append(`${n}`);
      if (before !== undefined) log.delivered(before);
      before = id;
      await pass(10);
    }
    // one each half second, none of them synced: but for the newest, all were acknowledged in 10 ms
    expect(store.count('c')).toBeLessThanOrEqual(11);
    expect(metrics.value('holdfast_log_commits_total')).toBe(0);
    expect(metrics.value('holdfast_log_delivered_total')).toBe(499);
  });
});

describe('a message goes to the disk at once', () => {
  it.each([
    ['nobody wants it', ['no'] as Answer[], {}],
    ['one who wants it has to wait', ['now', 'later'] as Answer[], {}],
    ['there is no delay', ['now'] as Answer[], { commitDelay: 0 }],
    ['there is no upstream', [] as Answer[], {}],
  ])('where %s', async (_where, answers, options) => {
    const { append, outcomes, clock, store } = await setUp(answers, options);
    append('one');
    await settle(clock);
    expect([outcomes, store.unsynced]).toEqual([['one told at 0'], 0]);
  });

  it('where it is retained, or somebody requires it', async () => {
    const { append, log, outcomes, clock } = await setUp(['now']);
    append('kept', true);
    await settle(clock);
    log.require(append('required'));
    await settle(clock);
    expect(outcomes).toEqual(['kept told at 0', 'required told at 0']);
    log.require(log.next - 1n);
    log.delivered(log.next - 1n);
    expect(outcomes).toHaveLength(2);
  });

  it('and takes those before it along', async () => {
    const { append, outcomes, clock, answers, log } = await setUp(['now']);
    append('one');
    answers[0] = 'later';
    append('two');
    await settle(clock);
    expect(outcomes).toEqual(['one told at 0', 'two told at 0']);
    expect(await payloads(log)).toEqual(['one', 'two']);
  });
});

describe('a disk that fails', () => {
  it('fails what it was needed for, and not what was delivered', async () => {
    const { append, log, outcomes, pass, store } = await setUp(['now']);
    log.delivered(append('delivered'));
    append('waiting');
    store.broken = true;
    await pass(100);
    expect(outcomes).toEqual(['delivered told at 0', 'waiting store_failed at 100']);
  });
});

describe('the gap between two fsyncs', () => {
  it('holds for those after the delay, too', async () => {
    const { append, outcomes, pass } = await setUp(['now'], { commitGap: 1_000 });
    append('one');
    await pass(100);
    append('two');
    await pass(999);
    expect(outcomes).toEqual(['one told at 100']);
    await pass(1);
    expect(outcomes).toEqual(['one told at 100', 'two told at 1100']);
  });
});
