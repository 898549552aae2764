import { describe, expect, it } from 'vitest';
import type { PageOf } from '../../src/index/index.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { all, connected, delivered, disconnected, FakeLog, pass, started, stopped } from './support.ts';

const always = { from: 0, to: Number.MAX_SAFE_INTEGER };
const first: PageOf = { skip: 0, limit: 10, order: 'asc' };

describe('what is recorded', () => {
  it('is what clients published, whatever way, under the client and the topic', async () => {
    const log = new FakeLog();
    for (const origin of ['coap', 'mqtt', 'rest', 'upstream', 'gateway'] as const) {
      log.append({ origin, clientId: 'c@app', topic: 't' }, 1_000);
    }
    const { index } = await started(new MemoryStore(), log);
    expect((await index.messageRecords('c@app', always, first)).total).toBe(3);
    const { total, messages } = await index.topicMessages('t', always, first);
    expect(total).toBe(3);
    expect((await all(messages)).map(({ origin }) => origin)).toEqual(['coap', 'mqtt', 'rest']);
  });

  it('is under the topic alone where the publisher gave no client id', async () => {
    const log = new FakeLog();
    log.append({ clientId: '', topic: 't' }, 1_000);
    const { index } = await started(new MemoryStore(), log);
    expect((await index.topicMessages('t', always, first)).total).toBe(1);
    expect((await index.messageRecords('', always, first)).total).toBe(0);
  });

  it('before the clock was set is found at the time that it really was, once that is known', async () => {
    const log = new FakeLog();
    log.append({ clientId: 'c@app', topic: 't' }, 1_000, 'unsynced');
    log.append({ clientId: 'c@app', topic: 't' }, 5_000, 'unsynced');
    log.append({ clientId: 'c@app', topic: 't' }, 1_000_009_000);
    const { index, clock } = await started(new MemoryStore(), log, { flushPostings: 4 });
    await pass(clock, 1_000);
    const at = async (from: number, to: number) => {
      const { total, rows } = await index.messageRecords('c@app', { from, to }, first);
      expect((await index.topicMessages('t', { from, to }, first)).total).toBe(total);
      return rows.map(({ time }) => time);
    };
    expect(await at(0, 10_000)).toEqual([1_000, 5_000]);
    log.shifts.set(1, 1_000_000_000);
    expect(await at(0, 10_000)).toEqual([]);
    expect(await at(1_000_002_000, 1_000_010_000)).toEqual([1_000_005_000, 1_000_009_000]);
    expect(await at(0, Number.MAX_SAFE_INTEGER)).toEqual([1_000_001_000, 1_000_005_000, 1_000_009_000]);
  });

  it('is exactly the topic, not those below', async () => {
    const log = new FakeLog();
    log.append({ topic: 'a/b' }, 1_000);
    const { index } = await started(new MemoryStore(), log);
    expect((await index.topicMessages('a', always, first)).total).toBe(0);
  });

  it('includes deliveries of what came from upstream, each time', async () => {
    const log = new FakeLog();
    const id = log.append({ origin: 'upstream', upstream: 'cloud', topic: 't' }, 1_000);
    log.record([delivered(id, 'c@app', 1), delivered(id, 'd@app'), delivered(id, 'c@app', 2)], 2_000);
    const { index } = await started(new MemoryStore(), log);
    expect(await index.deliveries(id, 'c@app', always, first)).toEqual({
      rows: [
        { time: 2_000, qos: 1 },
        { time: 2_000, qos: 2 },
      ],
      total: 2,
    });
    expect((await index.deliveries(id + 1n, 'c@app', always, first)).total).toBe(0);
    expect((await index.messageRecords('c@app', always, first)).rows[1]).toEqual({
      time: 2_000,
      message: id,
      direction: 'downlink',
    });
  });

  it('includes the delivery of a message of an earlier boot, on disk too', async () => {
    const log = new FakeLog();
    const id = log.append({ origin: 'rest', topic: 't' }, 1_000);
    for (let boots = 0; boots < 300; boots++) log.reboot();
    log.append({ clientId: 'c@app' }, 2_000);
    log.record([delivered(id, 'c@app', 1)], 3_000);
    const store = new MemoryStore();
    await stopped(await started(store, log));
    const { index } = await started(store, log);
    expect(await index.deliveries(id, 'c@app', always, first)).toEqual({ rows: [{ time: 3_000, qos: 1 }], total: 1 });
    expect((await index.messageRecords('c@app', always, first)).rows.map(({ message }) => message)).toContain(id);
  });
});

describe('rows', () => {
  it('come in the order in which they were recorded, not in that of a clock that was set', async () => {
    const log = new FakeLog();
    const ids = [5_000, 1_000, 9_000, 3_000].map((time) => log.append({ clientId: 'c@app' }, time));
    const { index } = await started(new MemoryStore(), log);
    const { rows, total } = await index.messageRecords('c@app', { from: 2_000, to: 9_000 }, first);
    expect(rows.map(({ message }) => message)).toEqual([ids[0], ids[2], ids[3]]);
    expect(total).toBe(3);
    const newest = await index.messageRecords('c@app', always, { skip: 0, limit: 2, order: 'desc' });
    expect(newest.rows.map(({ message }) => message)).toEqual([ids[3], ids[2]]);
  });

  it('include both ends of the window', async () => {
    const log = new FakeLog();
    for (const time of [999, 1_000, 1_500, 2_000, 2_001]) log.append({ clientId: 'c@app' }, time);
    const { index } = await started(new MemoryStore(), log);
    expect((await index.messageRecords('c@app', { from: 1_000, to: 2_000 }, first)).total).toBe(3);
  });

  it.each(['asc', 'desc'] as const)('are all there once, page by page, from disk and memory (%s)', async (order) => {
    const log = new FakeLog();
    const ids: bigint[] = [];
    const append = (count: number) => {
      for (let n = 0; n < count; n++) {
        ids.push(log.append({ clientId: 'c@app', topic: 't' }, 1_000 + ids.length * 977));
        log.append({ clientId: `other${n % 3}@app`, topic: 'elsewhere' }, 1_000);
      }
    };
    append(2_000);
    const { index, clock } = await started(new MemoryStore(), log, { flushPostings: 3_000, followDelay: 150 });
    append(130);
    await pass(clock, 300);
    const found: bigint[] = [];
    for (let skip = 0; ; skip += 97) {
      const { rows, total } = await index.messageRecords('c@app', always, { skip, limit: 97, order });
      expect(total).toBe(ids.length);
      found.push(...rows.map(({ message }) => message));
      if (rows.length === 0) break;
    }
    expect(found).toEqual(order === 'asc' ? ids : ids.toReversed());
  });

  it('past the end are none, with the true total', async () => {
    const log = new FakeLog();
    log.append({ clientId: 'c@app' }, 1_000);
    const { index } = await started(new MemoryStore(), log);
    expect(await index.messageRecords('c@app', always, { ...first, skip: 5 })).toEqual({ rows: [], total: 1 });
    expect(await index.messageRecords('nobody@app', always, first)).toEqual({ rows: [], total: 0 });
  });
});

describe('connections', () => {
  it('are given back as they were recorded', async () => {
    const log = new FakeLog();
    log.record([connected('c@app'), connected('d@app')], 1_000);
    log.append({}, 1_500);
    log.record([disconnected('d@app'), disconnected('c@app')], 2_000);
    const { index } = await started(new MemoryStore(), log);
    const { rows, total } = await index.connectionRecords('c@app', always, { ...first, order: 'desc' });
    expect(total).toBe(2);
    expect(rows).toEqual([log.runs[1]?.events[1], log.runs[0]?.events[0]]);
  });

  it('have a newest one that was let in, however many were refused since', async () => {
    const log = new FakeLog();
    const store = new MemoryStore();
    log.record([connected('c@app')], 1_000);
    log.record([disconnected('c@app')], 2_000);
    for (let n = 0; n < 50; n++) log.record([connected('c@app', 'not_authorized')], 3_000 + n);
    await stopped(await started(store, log, { flushPostings: 10 }));
    const { index } = await started(store, log);
    expect(await index.lastConnection('c@app')).toEqual(log.runs[0]?.events[0]);
    expect(await index.lastConnection('d@app')).toBeUndefined();
  });
});

describe('contents', () => {
  it('of a message are found by its id, once it is committed and as long as it is kept', async () => {
    const log = new FakeLog();
    const id = log.append({ clientId: 'c@app' }, 1_000);
    log.append({}, 1_000);
    const { index } = await started(new MemoryStore(), log);
    expect(await index.message(id)).toEqual(log.messages[0]);
    expect(await index.message(id + 2n)).toBeUndefined();
    expect(await index.message(7n)).toBeUndefined();
    log.trim(1);
    expect(await index.message(id)).toBeUndefined();
  });

  it('of a page are read as they are asked for, and neighbours together', async () => {
    const log = new FakeLog();
    for (let n = 0; n < 100; n++) log.append({ topic: 't' }, 1_000);
    const { index } = await started(new MemoryStore(), log);
    const { messages } = await index.topicMessages('t', always, { skip: 0, limit: 100, order: 'desc' });
    const before = log.reads;
    const reader = messages[Symbol.asyncIterator]();
    await reader.next();
    expect(log.reads - before).toBe(1);
    for (let step = await reader.next(); step.done !== true; step = await reader.next());
    expect(log.reads - before).toBeLessThan(10);
  });

  it('that retention deletes while a page is read are left out', async () => {
    const log = new FakeLog();
    for (let n = 0; n < 40; n++) log.append({ topic: 't' }, 1_000);
    const { index } = await started(new MemoryStore(), log);
    const { messages } = await index.topicMessages('t', always, { skip: 0, limit: 40, order: 'asc' });
    const found: bigint[] = [];
    for await (const { id } of messages) {
      if (found.length === 0) log.trim(30);
      expect(id >= log.head || found.length === 0).toBe(true);
      found.push(id);
    }
    expect(found.length).toBe(11);
  });
});
