import { describe, expect, it } from 'vitest';
import type { Connected, Disconnected, GatewayEvent, StoredEvent } from '../../src/domain/index.ts';
import type { Log } from '../../src/log/index.ts';
import type { FakeClock } from '../support/fake-clock.ts';
import { MemoryNumberFile, MemoryStore } from '../support/memory-store.ts';
import { makeLog, message, readAll, settle } from './support.ts';

const start = { position: 0n, offset: 0 };

const came: Connected = {
  kind: 'connected',
  connection: 7n,
  clientId: 'é1@app',
  username: 'u',
  network: 'wss',
  address: '[2001:db8::1]:5000',
  version: 4,
  keepalive: 60,
  clean: false,
  will: { topic: 'gone/é1', qos: 2, retain: true },
  reason: 'normal',
};
const went: Disconnected = { ...came, kind: 'disconnected', reason: 'server_shutdown', clean: true, will: undefined };
const delivery = (id: bigint, clientId = 'a@app'): GatewayEvent => ({
  kind: 'delivered',
  message: id,
  clientId,
  qos: 1,
});

async function allOf(log: Log): Promise<readonly StoredEvent[]> {
  const { events } = await log.events.read(log.events.head, { bytes: Number.POSITIVE_INFINITY });
  return [...events];
}

async function pass(clock: FakeClock, ms: number): Promise<void> {
  clock.advance(ms);
  await settle(clock);
}

describe('events', () => {
  it('are written within a quarter of a second, without an fsync, and read back whole', async () => {
    const store = new MemoryStore();
    const { log, clock } = makeLog(store);
    await log.start();
    const heard: number[] = [];
    log.onCommit(() => heard.push(clock.monotonic()));
    const time = clock.wall();
    log.events.record(came);
    await pass(clock, 100);
    log.events.record(went);
    log.events.record(delivery(9n));
    await pass(clock, 149);
    expect(await allOf(log)).toEqual([]);
    await pass(clock, 1);
    const events = await allOf(log);
    expect(events).toMatchObject([came, went, delivery(9n)]);
    expect(events.map((event) => [event.time - time, event.index, event.timeQuality])).toEqual([
      [0, 0, 'synced'],
      [100, 1, 'synced'],
      [100, 2, 'synced'],
    ]);
    expect(heard).toEqual([250]);
    expect(store.unsynced).toBe(1);
    const place = events[0]?.place ?? start;
    expect(await log.events.at(place)).toEqual(events);
    expect(await log.events.at({ ...place, offset: place.offset + 1 })).toEqual([]);
  });

  it('are written at once where many come together, one write after the other', async () => {
    const store = new MemoryStore();
    const { log, clock } = makeLog(store);
    await log.start();
    let free: () => void = () => undefined;
    const disk = new Promise<void>((resolve) => {
      free = resolve;
    });
    const write = store.write.bind(store);
    let writes = 0;
    store.write = async (...given) => {
      writes += 1;
      await disk;
      return write(...given);
    };
    const ids = Array.from({ length: 4_000 }, (_, n) => BigInt(n + 1));
    for (const id of ids) log.events.record(delivery(id));
    await pass(clock, 1_000);
    expect(writes).toBe(1);
    free();
    await settle(clock);
    const soon = (await allOf(log)).length;
    expect(soon).toBeGreaterThan(500);
    expect(soon).toBeLessThan(2_000);
    await pass(clock, 250);
    expect(await allOf(log)).toMatchObject(ids.map((id) => delivery(id)));
    expect(writes).toBe(2);
  });

  it('go along with a commit that comes first, and lie behind the messages that they are about', async () => {
    const store = new MemoryStore();
    const { log, clock } = makeLog(store);
    await log.start();
    store.held = true;
    const first = log.append(message('one'), () => undefined);
    log.events.record(delivery(first));
    await settle(clock);
    const second = log.append(message('two'), () => undefined);
    log.events.record(delivery(second));
    await pass(clock, 1_000);
    expect(store.count('e')).toBe(0);
    store.release();
    await settle(clock);
    const events = await allOf(log);
    expect(events.map((event) => event.place.position)).toEqual([first + 1n, second + 1n]);
    expect(store.unsynced).toBe(0);
    // and no message is between them: ids of messages stay without holes
    const { messages, lost } = await readAll(log, first);
    expect([messages.map(({ id }) => id), lost]).toEqual([[first, second], 0]);
  });

  it('are read on from a place, also one that a restart has come after', async () => {
    const store = new MemoryStore();
    const bootFile = new MemoryNumberFile();
    const before = makeLog(store, { bootFile });
    await before.log.start();
    before.log.events.record(delivery(1n));
    await pass(before.clock, 250);
    const { next } = await before.log.events.read(start, { bytes: 1 });
    before.log.events.record(delivery(2n));
    const ids = [before.log.events.newConnectionId(), before.log.events.newConnectionId()];
    await before.log.stop();
    const { log, clock } = makeLog(store, { bootFile });
    await log.start();
    log.events.record(delivery(3n));
    await pass(clock, 250);
    const { events, next: end } = await log.events.read(next, { bytes: Number.POSITIVE_INFINITY });
    expect([...events]).toMatchObject([delivery(2n), delivery(3n)]);
    const behind = await log.events.read(end, { bytes: 1 });
    expect({ ...behind, events: [...behind.events] }).toEqual({ events: [], next: end });
    expect(new Set([...ids, log.events.newConnectionId()]).size).toBe(3);
  });

  it('of a power cut are the last ones at most', async () => {
    const store = new MemoryStore();
    const { log, clock } = makeLog(store);
    await log.start();
    log.events.record(delivery(1n));
    await pass(clock, 250);
    log.append(message('one'), () => undefined);
    await settle(clock);
    log.events.record(delivery(2n));
    await pass(clock, 250);
    const after = makeLog(store.afterPowerCut());
    await after.log.start();
    expect(await allOf(after.log)).toMatchObject([delivery(1n)]);
    expect((await readAll(after.log, 0n)).messages).toHaveLength(1);
  });

  it('go with the messages that they are about', async () => {
    const options = { history: { maxBytes: 3 * 1024 * 1024, maxAge: 1e12, maxRecords: 1e9 }, recentBytes: 0 };
    const { log, clock } = makeLog(new MemoryStore(), { options });
    await log.start();
    for (let n = 0; n < 12; n++) {
      const id = log.append(message(Buffer.alloc(500_000)), () => undefined);
      log.events.record(delivery(id));
      await settle(clock, 5);
    }
    await pass(clock, 3_000);
    const deliveries = (await allOf(log)).map((event) => (event.kind === 'delivered' ? event.message : -1n));
    expect(log.head).toBeGreaterThan(1n << 40n);
    expect(deliveries.every((id) => id >= log.head)).toBe(true);
    expect(deliveries.length).toBe(Number(log.next - log.head));
    expect(log.events.head.offset).toBe((await allOf(log))[0]?.place.offset);
  });

  it('take no more than a share of the history, and no longer than its age', async () => {
    const history = { maxBytes: 8 * 1024 * 1024, maxAge: 3_600_000, maxRecords: 1e9 };
    const store = new MemoryStore();
    const { log, clock } = makeLog(store, { options: { history } });
    await log.start();
    const bigs = Array.from({ length: 400 }, (_, n) => delivery(BigInt(n), 'x'.repeat(10_000)));
    for (const event of bigs) {
      log.events.record(event);
      await pass(clock, 250);
    }
    await pass(clock, 1_000);
    expect(log.events.bytes).toBeLessThanOrEqual(2 * 1024 * 1024);
    expect((await allOf(log)).at(-1)).toMatchObject({ message: 399n });
    expect((await allOf(log)).length).toBeGreaterThan(150);
    const reopened = makeLog(store, { options: { history } });
    await reopened.log.start();
    expect(reopened.log.events.bytes).toBe(log.events.bytes);
    await pass(clock, 3_600_000);
    await pass(clock, 61_000);
    expect([log.events.bytes, store.count('e')]).toEqual([0, 0]);
    log.events.record(delivery(400n));
    await pass(clock, 250);
    expect(await allOf(log)).toMatchObject([delivery(400n)]);
  });

  it('that are damaged are passed over, and so is what is none', async () => {
    const store = new MemoryStore();
    const { log, clock } = makeLog(store);
    await log.start();
    for (const id of [1n, 2n, 3n]) {
      log.events.record(delivery(id));
      log.events.record(came);
      await pass(clock, 250);
    }
    store.damage('e', 0, (value) => value.fill(0xff, 50, 60));
    store.damage('e', 1, (value) => value.fill(0xff, 0, 8));
    expect(await allOf(log)).toMatchObject([came, delivery(3n), came]);
  });

  it('are bounded while the disk fails, and what is dropped is counted', async () => {
    const store = new MemoryStore();
    const { log, clock, metrics } = makeLog(store);
    await log.start();
    store.broken = true;
    store.unopenable = true;
    log.append(message('one'), () => undefined);
    await settle(clock);
    for (let n = 0; n < 300; n++) log.events.record(delivery(BigInt(n), 'x'.repeat(10_000)));
    await pass(clock, 5_000);
    expect(metrics.value('holdfast_events_dropped_total')).toBeGreaterThan(150);
    store.unopenable = false;
    await pass(clock, 2_000);
    await pass(clock, 250);
    expect((await allOf(log)).length).toBeGreaterThan(90);
  });
});
