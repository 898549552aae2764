import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { LevelStore } from '../../src/log/index.ts';
import type { MemoryStore } from '../support/memory-store.ts';
import { drain, type FakeClient, type SessionBench, startSessions } from './session-bench.ts';

/** What aedes asks of a persistence, method by method. */

async function online(): Promise<{ bench: SessionBench<MemoryStore>; client: FakeClient }> {
  const bench = await startSessions();
  const client = bench.connect('one');
  await bench.subscribe(client, 'a/#', 2);
  await drain(bench.persistence, client);
  return { bench, client };
}

async function sent(bench: SessionBench, client: FakeClient, qos: 1 | 2): Promise<number> {
  const brokerCounter = bench.publish('x', { qos });
  const packet = { cmd: 'publish', brokerId: 'log', brokerCounter, messageId: 9_999, qos: 0 as const };
  await bench.persistence.outgoingUpdate(client, packet);
  expect(packet.qos).toBe(qos);
  return packet.messageId;
}

describe('subscriptions', () => {
  it('are those that were granted, at their last QoS', async () => {
    const bench = await startSessions({ granted: (topic) => topic !== 'no' });
    const client = bench.connect('one');
    const { persistence } = bench;
    expect(await persistence.subscriptionsByClient({ id: 'two' })).toEqual([]);
    expect(await persistence.subscriptionsByClient(client)).toEqual([{ topic: '$session', qos: 0 }]);
    await persistence.addSubscriptions(client, [
      { topic: 'a', qos: 1 },
      { topic: 'no', qos: 1 },
      { topic: 'b', qos: 2 },
    ]);
    await persistence.addSubscriptions(client, [{ topic: 'b', qos: 0 }]);
    const expected = [
      { topic: 'a', qos: 1 },
      { topic: 'b', qos: 0 },
    ];
    expect(await persistence.subscriptionsByClient(client)).toEqual(expected);
    expect(await persistence.countOffline()).toEqual({ subsCount: 2, clientsCount: 1 });
    expect(await persistence.getClientList('a').toArray()).toEqual(['one']);
    const again = await startSessions({ disk: bench.disk.afterPowerCut(), log: bench.log });
    expect(await again.persistence.subscriptionsByClient(client)).toEqual(expected);
    await again.persistence.removeSubscriptions(client, ['a', 'unknown']);
    expect(await again.persistence.subscriptionsByClient(client)).toEqual(expected.slice(1));
    await again.persistence.cleanSubscriptions(client);
    expect(await again.persistence.subscriptionsByClient(client)).toEqual([]);
  });

  it('are on the disk before they resolve', async () => {
    const bench = await startSessions();
    const client = bench.connect('one');
    bench.disk.held = true;
    let done = false;
    const adding = bench.subscribe(client, 'a', 1).then(() => {
      done = true;
    });
    await bench.tick(0);
    expect(done).toBe(false);
    bench.disk.release();
    await adding;
    const survivor = bench.disk.afterPowerCut();
    await survivor.open();
    expect(survivor.count('b')).toBe(1);
  });
});

describe('outgoing messages', () => {
  it('of QoS 1 go with their acknowledgement', async () => {
    const { bench, client } = await online();
    const messageId = await sent(bench, client, 1);
    expect(await bench.persistence.outgoingClearMessageId(client, { cmd: 'puback', messageId })).toMatchObject({
      topic: 'a/b',
      qos: 1,
      messageId,
    });
    expect(await bench.persistence.outgoingClearMessageId(client, { cmd: 'puback', messageId })).toBeUndefined();
    expect(bench.queued('one')).toEqual([]);
  });

  it('of QoS 2 are a PUBREL after PUBREC, on the disk, until PUBCOMP', async () => {
    const { bench, client } = await online();
    const messageId = await sent(bench, client, 2);
    await bench.persistence.outgoingUpdate(client, { cmd: 'pubrel', messageId });
    const again = await startSessions({ disk: bench.disk.afterPowerCut(), log: bench.log });
    expect(await drain(again.persistence, again.connect('one'))).toEqual([{ cmd: 'pubrel', messageId }]);
    await again.persistence.outgoingClearMessageId(client, { cmd: 'pubcomp', messageId });
    expect(await drain(again.persistence, client)).toEqual([]);
    await again.store.flush(false);
    expect(again.disk.count('q') + again.disk.count('m')).toBe(0);
  });

  it('of QoS 2 are sent only once their identifier is written', async () => {
    const { bench, client } = await online();
    const messageId = await sent(bench, client, 2);
    const again = await startSessions({ disk: bench.disk.afterPowerCut(0), log: bench.log });
    expect(await drain(again.persistence, again.connect('one'))).toMatchObject([{ dup: true, messageId }]);
  });

  it('that are unknown, dropped or a PUBREL of nothing are no error', async () => {
    const { bench, client } = await online();
    const packet = { cmd: 'publish', brokerId: 'log', brokerCounter: 77n, messageId: undefined };
    await bench.persistence.outgoingUpdate(client, packet);
    expect(packet.messageId).toBeGreaterThan(0);
    await bench.persistence.outgoingUpdate(client, { cmd: 'pubrel', messageId: 5 });
    expect(await bench.persistence.outgoingClearMessageId({ id: 'nobody' }, { messageId: 5 })).toBeUndefined();
  });

  it('never get an identifier that is in use', async () => {
    const { bench, client } = await online();
    const inUse = await sent(bench, client, 1);
    const session = bench.store.sessions.get('one');
    for (let n = 0; n < 70_000; n++) expect(session?.allocate() === inUse).toBe(false);
  });
});

describe('incoming QoS 2 identifiers', () => {
  it.each([false, true])('are known until their PUBREL; clean session: %s', async (clean) => {
    const bench = await startSessions();
    const client = clean ? { id: 'one', clean, closed: false } : bench.connect('one');
    const { persistence } = bench;
    const packet = { messageId: 300 };
    await expect(persistence.incomingGetPacket(client, packet)).rejects.toThrow('no such packet');
    await persistence.incomingStorePacket(client, packet);
    expect(await persistence.incomingGetPacket(client, packet)).toEqual(packet);
    const again = await startSessions({ disk: bench.disk.afterPowerCut(), log: bench.log });
    expect(again.store.sessions.hasIncoming('one', 300)).toBe(!clean);
    await persistence.incomingDelPacket(client, packet);
    await expect(persistence.incomingGetPacket(client, packet)).rejects.toThrow('no such packet');
    await persistence.incomingStorePacket(client, packet);
    bench.disconnect(client);
    await persistence.cleanIncoming(client);
    await expect(persistence.incomingGetPacket(client, packet)).rejects.toThrow('no such packet');
  });
});

describe('wills', () => {
  it('are kept until deleted, and not deleted for an earlier connection', async () => {
    const { bench, client } = await online();
    const { persistence } = bench;
    await persistence.putWill(client, { topic: 'w', payload: Buffer.from('bye'), qos: 1, retain: true });
    expect(await persistence.delWill({ id: 'one' })).toBeUndefined();
    await bench.store.flush(true);
    const again = await startSessions({ disk: bench.disk.afterPowerCut(), log: bench.log });
    const will = { topic: 'w', payload: Buffer.from('bye'), qos: 1, retain: true, username: 'ann' };
    expect(await again.persistence.getWill({ id: 'one' })).toEqual(will);
    expect(await again.persistence.streamWill().toArray()).toEqual([]);
    client.closed = true;
    expect(await persistence.delWill({ id: 'one' })).toEqual(will);
    expect(await persistence.getWill(client)).toBeUndefined();
  });
});

describe('a LevelDB directory', () => {
  it('that is damaged is repaired or moved aside, and sessions begin anew', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'sessions-'));
    try {
      const path = join(directory, 'sessions');
      const first = await startSessions({ disk: new LevelStore(path) });
      await first.subscribe(first.connect('one'), '#', 1);
      first.publish('x');
      await first.store.stop();
      const second = await startSessions({ disk: new LevelStore(path), log: first.log });
      expect(second.queued('one')).toEqual(['x']);
      expect(second.health.active()).toEqual([]);
      await second.store.stop();
      for (const name of await readdir(path)) await writeFile(join(path, name), 'garbage');
      const third = await startSessions({ disk: new LevelStore(path), log: first.log });
      expect(third.health.active().map(({ code }) => code)).toEqual(['sessions_damaged']);
      await third.subscribe(third.connect('two'), '#', 1);
      third.publish('y');
      expect(third.queued('two')).toEqual(['y']);
      await third.store.stop();
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
});
