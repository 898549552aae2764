import { describe, expect, it } from 'vitest';
import { MemoryStore } from '../support/memory-store.ts';
import { drain, startSessions } from './session-bench.ts';

const day = 24 * 3_600_000;

describe('a queue', () => {
  it('drops its oldest messages above its count and its bytes', async () => {
    const bench = await startSessions({ limits: { messages: 3, bytes: 1_000 } });
    const client = bench.connect('one');
    await bench.subscribe(client, '#', 1);
    for (const payload of ['1', '2', '3', '4']) bench.publish(payload);
    expect(bench.queued('one')).toEqual(['2', '3', '4']);
    expect(bench.dropped('messages')).toBe(1);
    const large = 'x'.repeat(700);
    bench.publish(large);
    expect(bench.queued('one')).toEqual(['3', '4', large]);
    bench.publish('y'.repeat(600));
    expect(bench.queued('one')).toEqual(['y'.repeat(600)]);
    expect(bench.dropped('bytes')).toBe(2);
    bench.publish('z'.repeat(2_000));
    expect(bench.queued('one')).toEqual([]);
    expect(bench.metrics.value('holdfast_session_queue_bytes')).toBe(0);
  });

  it('counts a message that several wait for once in the bytes of all, and drops the oldest of all', async () => {
    const bench = await startSessions({ limits: { totalBytes: 3_000 } });
    for (const id of ['one', 'two', 'three']) await bench.subscribe(bench.connect(id), '#', 1);
    await bench.subscribe(bench.connect('four'), 'other', 1);
    bench.publish('o'.repeat(100), { topic: 'other' });
    for (const letter of ['a', 'b', 'c']) bench.publish(letter.repeat(900));
    expect(bench.dropped('total_bytes')).toBe(4);
    expect(bench.queued('four')).toEqual([]);
    for (const id of ['one', 'two', 'three']) {
      expect(bench.queued(id).map((payload) => payload[0])).toEqual(['a', 'b', 'c']);
    }
  });

  it('drops what has grown too old or has expired', async () => {
    const bench = await startSessions({ limits: { maxAge: day, idle: 100 * day } });
    const client = bench.connect('one');
    await bench.subscribe(client, '#', 1);
    bench.publish('short', { expiry: 30 });
    bench.publish('long');
    await bench.tick(61_000);
    expect(bench.queued('one')).toEqual(['long']);
    expect(bench.dropped('expired')).toBe(1);
    bench.publish('next', { expiry: 20 });
    await bench.tick(25_000);
    expect((await drain(bench.persistence, client)).map(({ payload }) => `${payload}`)).toEqual(['long']);
    await bench.tick(day);
    expect(bench.queued('one')).toEqual([]);
    expect(bench.dropped('age')).toBe(1);
  });

  it('never holds QoS 0, and what has a lower QoS granted at that', async () => {
    const bench = await startSessions();
    const client = bench.connect('one');
    await bench.subscribe(client, 'a/+', 1);
    await bench.subscribe(client, 'zero', 0);
    bench.publish('no', { qos: 0 });
    bench.publish('neither', { topic: 'zero' });
    bench.publish('yes', { qos: 2 });
    expect(await drain(bench.persistence, client)).toMatchObject([{ qos: 1, dup: false, messageId: 1 }]);
  });
});

describe('sessions', () => {
  it('that nobody comes back to are forgotten, over a restart too', async () => {
    const bench = await startSessions({ limits: { idle: 2 * day } });
    const client = bench.connect('one');
    await bench.subscribe(client, '#', 1);
    bench.disconnect(client);
    bench.publish('x');
    bench.connect('online');
    await bench.tick(day);
    await bench.store.stop();
    const again = await startSessions({ disk: bench.disk, log: bench.log, limits: { idle: 2 * day } });
    again.connect('online');
    expect(again.store.sessions.count).toBe(2);
    await again.tick(day + 120_000);
    expect(again.store.sessions.get('one')).toBeUndefined();
    expect(again.store.sessions.get('online')).toBeDefined();
    expect(again.dropped('session_expired')).toBe(1);
    expect(again.disk.count('q') + again.disk.count('m') + again.disk.count('b')).toBe(0);
  });

  it('beyond their number take the place of the one left unused for the longest time', async () => {
    const bench = await startSessions({ limits: { sessions: 2 } });
    bench.disconnect(bench.connect('first'));
    await bench.tick(10);
    bench.disconnect(bench.connect('second'));
    bench.connect('third');
    expect(['first', 'second', 'third'].map((id) => bench.store.sessions.get(id) !== undefined)).toEqual([
      false,
      true,
      true,
    ]);
  });
});

describe('the disk', () => {
  it('sees nothing of a message that is acknowledged at once', async () => {
    const bench = await startSessions();
    const client = bench.connect('one');
    await bench.subscribe(client, '#', 1);
    await drain(bench.persistence, client);
    const id = bench.publish('x');
    const packet = { cmd: 'publish', brokerId: 'log', brokerCounter: id, messageId: undefined };
    await bench.persistence.outgoingUpdate(client, packet);
    await bench.persistence.outgoingClearMessageId(client, { cmd: 'puback', messageId: packet.messageId });
    await bench.tick(300);
    expect(bench.disk.count('q') + bench.disk.count('m')).toBe(0);
    // what was acknowledged is not read from the log again
    const again = await startSessions({ disk: bench.disk.afterPowerCut(0), log: bench.log });
    expect(again.queued('one')).toEqual([]);
  });

  it('holds a message for several sessions once', async () => {
    const bench = await startSessions();
    for (const id of ['one', 'two']) await bench.subscribe(bench.connect(id), '#', 1);
    bench.publish('x');
    await bench.store.flush(false);
    expect([bench.disk.count('m'), bench.disk.count('q')]).toEqual([1, 2]);
  });

  it('lets the log go only of what is synced here', async () => {
    const bench = await startSessions();
    await bench.subscribe(bench.connect('one'), '#', 1);
    expect(bench.log.held).toBe(true);
    const before = bench.log.place;
    bench.publish('x');
    await bench.tick(300);
    expect(bench.log.place).toBe(before);
    bench.disk.held = true;
    await bench.tick(10_000);
    expect(bench.log.place).toBe(before);
    bench.disk.release();
    await bench.tick(0);
    expect(bench.log.place).toBe(bench.log.next);
    const again = await startSessions({ disk: bench.disk.afterPowerCut(), log: bench.log });
    expect(again.queued('one')).toEqual(['x']);
  });

  it('that fails fails a SUBSCRIBE, and gets everything once it works again', async () => {
    const bench = await startSessions();
    const client = bench.connect('one');
    await bench.subscribe(client, 'a/#', 1);
    bench.disk.broken = true;
    await expect(bench.subscribe(client, 'b', 1)).rejects.toThrow('no space');
    expect(bench.health.active().map(({ code }) => code)).toEqual(['sessions_failing']);
    bench.publish('x');
    await expect(bench.subscribe(client, 'c', 1)).rejects.toThrow('cannot be written');
    await bench.tick(1_000);
    expect(bench.health.active()).toEqual([]);
    const again = await startSessions({ disk: bench.disk.afterPowerCut(), log: bench.log });
    expect(again.queued('one')).toEqual(['x']);
  });

  it('that does not open or is damaged keeps nobody from starting', async () => {
    const disk = new MemoryStore();
    disk.unopenable = true;
    const bench = await startSessions({ disk });
    expect(bench.health.active().map(({ code }) => code)).toEqual(['sessions_failing']);
    disk.unopenable = false;
    await bench.tick(1_000);
    expect(bench.health.active()).toEqual([]);
    const client = bench.connect('one');
    await bench.subscribe(client, '#', 1);
    bench.publish('x');
    bench.publish('y');
    await bench.store.stop();
    disk.damage('m', 0, (value) => Buffer.concat([value, Buffer.from('!')]));
    disk.damage('s', 0, () => Buffer.from('nonsense'));
    const again = await startSessions({ disk, log: bench.log });
    expect(again.health.active()).toMatchObject([{ code: 'sessions_damaged', detail: '2 entries are lost, of one' }]);
    expect(again.queued('one')).toEqual(['y']);
  });
});
