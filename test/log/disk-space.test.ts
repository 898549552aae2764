import { describe, expect, it } from 'vitest';
import type { LogOptions } from '../../src/log/index.ts';
import { FakeDisk } from '../support/fake-disk.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { makeLog, message, readAll, settle } from './support.ts';

async function setUp(options: Partial<LogOptions> = {}) {
  const space = new FakeDisk();
  const store = new MemoryStore();
  const bench = makeLog(store, { space, options: { commitDelay: 0, recentBytes: 0, ...options } });
  await bench.log.start();
  const outcomes: string[] = [];
  const append = async (payload: string | Uint8Array) => {
    try {
      bench.log.append(message(payload), (error) => outcomes.push(error?.code ?? 'stored'));
    } catch (thrown) {
      outcomes.push(String(thrown));
    }
    await settle(bench.clock);
    return outcomes.at(-1);
  };
  const pass = async (ms: number) => {
    bench.clock.advance(ms);
    await settle(bench.clock);
  };
  return { ...bench, space, store, append, pass };
}

describe('a disk that fills', () => {
  it('has its history deleted, the oldest first, and never what a queue waits for', async () => {
    const { log, space, append, pass } = await setUp();
    log.holdFor('cloud', { maxBytes: 1e9, maxRecords: 1e9, overflow: 'drop_oldest' });
    for (let n = 0; n < 40; n++) await append(Buffer.alloc(600_000));
    const first = log.head;
    log.moveCursor('cloud', first + 20n);
    await pass(1_000);
    expect(log.head).toBe(first);
    space.next = 'low';
    await pass(1_000);
    await pass(1_000);
    expect(log.head).toBeGreaterThan(first + 10n);
    expect(log.head).toBeLessThanOrEqual(first + 20n);
    expect((await readAll(log, log.head)).messages.at(-1)?.id).toBe(log.next - 1n);
    expect(await append('still taken')).toBe('stored');
  });

  it('takes nothing new once it is full, and everything again once there is room', async () => {
    const { log, space, append, pass } = await setUp();
    expect(await append('one')).toBe('stored');
    space.next = 'full';
    await pass(1_000);
    expect(await append('two')).toContain('the disk is full');
    log.events.record({ kind: 'delivered', message: 1n, clientId: 'a@app', qos: 0 });
    await pass(1_000);
    const { events } = await log.events.read(log.events.head, { bytes: 1e6 });
    expect([...events]).toEqual([]);
    space.next = 'fine';
    await pass(1_000);
    expect(await append('three')).toBe('stored');
    expect((await readAll(log, 0n)).messages.map((one) => String(one.payload))).toEqual(['one', 'three']);
  });

  it('that has no room at all for a write is given the ballast, and goes on by itself', async () => {
    const { log, space, store, append, pass, health } = await setUp();
    expect(await append('one')).toBe('stored');
    store.broken = true;
    space.next = 'full';
    expect(await append('two')).toBe('store_failed');
    expect(health.active().map(({ code }) => code)).toEqual(['store_failing']);
    await pass(1_000);
    expect(space.exhaustions).toBe(1);
    expect(await append('three')).toContain('the disk is full');
    space.next = 'fine';
    await pass(1_000);
    await pass(1_000);
    expect(await append('four')).toBe('stored');
    expect((await readAll(log, 0n)).messages.map((one) => String(one.payload))).toEqual(['one', 'four']);
  });

  it('that fails while nothing new is taken is opened anew, too', async () => {
    const { log, space, store, pass, append } = await setUp();
    space.next = 'full';
    await pass(1_000);
    log.moveCursor('cloud', log.next);
    store.broken = true;
    await pass(1_000);
    expect(log.writable).toBe(false);
    await pass(1_000);
    expect([log.writable, space.exhaustions]).toEqual([true, 1]);
    space.next = 'fine';
    await pass(1_000);
    expect(await append('one')).toBe('stored');
  });

  it('that has no room for the store to open is given the ballast, before others start', async () => {
    const before = new MemoryStore();
    const former = makeLog(before);
    await former.log.start();
    former.log.append(message('one'), () => undefined);
    await former.log.stop();
    const space = new FakeDisk();
    const open = before.open.bind(before);
    before.open = async () => {
      if (space.exhaustions === 0) throw new Error('IO error: 000059.ldb: No space left on device');
      return open();
    };
    const { log, health } = makeLog(before, { space });
    await log.start();
    expect([log.writable, space.exhaustions, health.active()]).toEqual([true, 1, []]);
    expect((await readAll(log, 0n)).messages).toHaveLength(1);
  });

  it('does not keep the gateway from starting', async () => {
    const store = new MemoryStore();
    const before = makeLog(store);
    await before.log.start();
    before.log.append(message('one'), () => undefined);
    await before.log.stop();
    store.unopenable = true;
    const { log, clock, health } = makeLog(store);
    await log.start();
    expect([log.writable, health.active().map(({ code }) => code)]).toEqual([false, ['store_failing']]);
    clock.advance(1_000);
    await settle(clock);
    expect(log.writable).toBe(false);
    store.unopenable = false;
    clock.advance(1_000);
    await settle(clock);
    expect([log.writable, health.active()]).toEqual([true, []]);
    expect((await readAll(log, 0n)).messages).toHaveLength(1);
  });
});
