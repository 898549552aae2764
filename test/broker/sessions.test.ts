import { afterEach, describe, expect, it } from 'vitest';
import type { Message } from '../../src/domain/index.ts';
import { message } from '../log/support.ts';
import { type LocalGateway, startLocalGateway } from '../support/local-gateway.ts';
import { Wire } from './wire.ts';

const open: LocalGateway[] = [];

afterEach(async () => {
  for (const gateway of open.splice(0)) await gateway.stop();
});

async function gateway(given: Parameters<typeof startLocalGateway>[0] = {}): Promise<LocalGateway> {
  const made = await startLocalGateway(given);
  open.push(made);
  return made;
}

/** A new gateway on what a power cut leaves of the disks: everything that was not synced is gone. */
async function afterPowerCut(
  old: LocalGateway,
  given: Parameters<typeof startLocalGateway>[0] = {},
  lose = Number.POSITIVE_INFINITY,
): Promise<LocalGateway> {
  const disks = {
    store: old.store.afterPowerCut(),
    sessions: old.sessions.afterPowerCut(lose),
    bootFile: old.bootFile,
  };
  return gateway({ ...given, disks });
}

async function restart(old: LocalGateway): Promise<LocalGateway> {
  open.splice(open.indexOf(old), 1);
  await old.stop();
  return gateway({ disks: old });
}

function publish(to: LocalGateway, given: Message): Promise<void> {
  return new Promise((resolve, reject) => to.pipeline.publish(given, (error) => (error ? reject(error) : resolve())));
}

async function publishMany(to: LocalGateway, from: number, until: number, qos: 0 | 1 | 2 = 1): Promise<string[]> {
  const numbers = Array.from({ length: until - from }, (_, n) => from + n);
  await Promise.all(numbers.map((n) => publish(to, message(`${n}`, 'a/b', { qos }))));
  return numbers.map((n) => `${n}/1`);
}

async function subscriber(to: LocalGateway, filter = 'a/#', qos: 0 | 1 | 2 = 1): Promise<Wire> {
  const { wire } = await Wire.open(to, 'sub');
  await wire.subscribe(filter, qos);
  return wire;
}

describe('a persistent subscriber that is away', () => {
  it('gets every acknowledged message in order after a power cut', async () => {
    const local = await gateway();
    await (await subscriber(local)).close();
    const expected = await publishMany(local, 0, 200);
    const again = await afterPowerCut(local);
    const { wire, present } = await Wire.open(again, 'sub');
    expect(present).toBe(true);
    expect(await wire.messages(200)).toEqual(expected);
  });

  it.each([0, 1, 2, 3, 5, 8])('gets them where %i writes of the session store were lost', async (lose) => {
    const local = await gateway();
    await (await subscriber(local)).close();
    const expected: string[] = [];
    for (let n = 0; n < 10; n++) {
      expected.push(...(await publishMany(local, n * 5, n * 5 + 5)));
      await local.sessionStore.flush(false);
    }
    const again = await afterPowerCut(local, {}, lose);
    const { wire } = await Wire.open(again, 'sub');
    expect(await wire.messages(50)).toEqual(expected);
    await wire.settled();
    expect(wire.got.filter(({ cmd }) => cmd === 'publish')).toEqual([]);
  });

  it('gets them after a restart in order, and what was published through MQTT too', async () => {
    const local = await gateway();
    await (await subscriber(local, 'a/+', 2)).close();
    const { wire: sender } = await Wire.open(local, 'pub', true);
    for (let n = 1; n <= 20; n++) sender.publish('a/x', `${n}`, 1, n);
    for (let n = 1; n <= 20; n++) await sender.next('puback');
    const again = await restart(local);
    const { wire } = await Wire.open(again, 'sub');
    expect(await wire.messages(20)).toEqual(Array.from({ length: 20 }, (_, n) => `${n + 1}/1`));
  });

  it('is sent nothing of QoS 0, nothing from before it subscribed, and nothing twice', async () => {
    const local = await gateway();
    await publishMany(local, 0, 5);
    const { wire: first } = await Wire.open(local, 'sub');
    await first.subscribe('a/#', 1);
    await first.subscribe('+/b', 2);
    await first.close();
    await publishMany(local, 5, 7, 0);
    await publishMany(local, 7, 9, 2);
    const again = await afterPowerCut(local);
    const { wire } = await Wire.open(again, 'sub');
    expect(await wire.messages(2)).toEqual(['7/2', '8/2']);
    await wire.settled();
    expect(wire.got).toEqual([]);
  });

  it('does not get again, after a restart, what it acknowledged', async () => {
    const local = await gateway();
    const first = await subscriber(local);
    await publishMany(local, 0, 10);
    await first.messages(10);
    await first.settled();
    await first.close();
    await publishMany(local, 10, 12);
    const again = await restart(local);
    const { wire } = await Wire.open(again, 'sub');
    expect(await wire.messages(2)).toEqual(['10/1', '11/1']);
    await wire.settled();
    expect(wire.got).toEqual([]);
  });

  it('gets its backlog before what comes in while it is sent', async () => {
    const local = await gateway();
    await (await subscriber(local)).close();
    const expected = await publishMany(local, 0, 300);
    const { wire } = await Wire.open(local, 'sub');
    const later = publishMany(local, 300, 600);
    expect(await wire.messages(600)).toEqual([...expected, ...(await later)]);
    await publishMany(local, 600, 601);
    expect(await wire.messages(1)).toEqual(['600/1']);
    await wire.settled();
    expect(wire.got).toEqual([]);
  });
});

describe('a session', () => {
  it('has what was sent and not acknowledged sent again with DUP, under its identifier', async () => {
    const local = await gateway();
    const first = await subscriber(local);
    await publishMany(local, 0, 3);
    const { messageId } = await first.next('publish');
    await first.messages(2, false);
    await first.vanish();
    while (local.registry.count('mqtt') > 0) await new Promise<void>((resolve) => setImmediate(resolve));
    await publishMany(local, 3, 4);
    const again = await restart(local);
    const { wire } = await Wire.open(again, 'sub');
    const repeated = await wire.next('publish');
    expect(repeated).toMatchObject({ dup: true, messageId });
    expect(await wire.messages(3)).toEqual(['1/1+', '2/1+', '3/1']);
  });

  it('is present without a subscription, and gone with clean session 1', async () => {
    const local = await gateway();
    const { wire, present } = await Wire.open(local, 'sub');
    expect(present).toBe(false);
    await wire.close();
    const again = await restart(local);
    const second = await Wire.open(again, 'sub');
    expect(second.present).toBe(true);
    await second.wire.subscribe('a/#', 1);
    await second.wire.close();
    await publishMany(again, 0, 2);
    const clean = await Wire.open(again, 'sub', true);
    expect(clean.present).toBe(false);
    await clean.wire.close();
    const cut = await afterPowerCut(again);
    const third = await Wire.open(cut, 'sub');
    expect(third.present).toBe(false);
    await publishMany(cut, 2, 3);
    await third.wire.settled();
    expect(third.wire.got).toEqual([]);
  });

  it('keeps no subscription that was refused, and none that was given up', async () => {
    const local = await gateway({
      rules: [
        { effect: 'deny', action: 'subscribe', user: '*', client: '*', topic: 'secret/#' },
        { effect: 'allow', action: 'all', user: '*', client: '*', topic: '#' },
      ],
    });
    const { wire } = await Wire.open(local, 'sub');
    const subscriptions = ['secret/x', 'a/b', 'c'].map((topic) => ({ topic, qos: 1 as const }));
    wire.send({ cmd: 'subscribe', messageId: 1, subscriptions });
    expect((await wire.next('suback')).granted).toEqual([128, 1, 1]);
    wire.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['c'] });
    await wire.next('unsuback');
    const again = await afterPowerCut(local);
    expect([...(again.sessionStore.sessions.get('sub@app')?.subscriptions.keys() ?? [])]).toEqual(['a/b']);
  });

  it('is taken over by a second connection, which is sent what the first did not acknowledge', async () => {
    const local = await gateway();
    const first = await subscriber(local);
    await publishMany(local, 0, 2);
    await first.messages(2, false);
    const { wire } = await Wire.open(local, 'sub');
    expect(await wire.messages(2)).toEqual(['0/1+', '1/1+']);
    await publishMany(local, 2, 3);
    expect(await wire.messages(1)).toEqual(['2/1']);
  });

  it('leaves a will that is published after a power cut', async () => {
    const local = await gateway();
    await (await subscriber(local, 'gone/#')).close();
    const will = { topic: 'gone/x', payload: Buffer.from('bye'), qos: 1 as const, retain: false };
    await Wire.open(local, 'dying', true, will);
    await local.sessionStore.flush(true);
    const again = await afterPowerCut(local);
    const { wire } = await Wire.open(again, 'sub');
    expect(await wire.messages(1)).toEqual(['bye/1']);
  });

  it('leaves a will that a stop publishes, once', async () => {
    const local = await gateway();
    await (await subscriber(local, 'gone/#')).close();
    const will = { topic: 'gone/x', payload: Buffer.from('bye'), qos: 1 as const, retain: false };
    await Wire.open(local, 'dying', true, will);
    const again = await restart(local);
    const { wire } = await Wire.open(again, 'sub');
    expect(await wire.messages(1)).toEqual(['bye/1']);
    await wire.settled();
    expect(wire.got).toEqual([]);
  });

  it('with overlapping subscriptions gets each message once, at the highest QoS', async () => {
    const local = await gateway();
    const { wire } = await Wire.open(local, 'sub');
    await wire.subscribe('a/b', 0);
    await wire.subscribe('a/+', 1);
    await wire.subscribe('#', 2);
    await publishMany(local, 0, 3, 1);
    expect(await wire.messages(3)).toEqual(['0/1', '1/1', '2/1']);
    await publishMany(local, 3, 4, 2);
    expect(await wire.messages(1)).toEqual(['3/2']);
    await wire.settled();
    expect(wire.got).toEqual([]);
    expect(local.sessionStore.sessions.get('sub@app')?.queue.size).toBe(1);
  });

  it('gets retained messages beside its queue, each under an identifier of its own', async () => {
    const local = await gateway();
    for (let n = 0; n < 5; n++) await publish(local, message(`r${n}`, `r/${n}`, { retain: true }));
    const first = await subscriber(local, 'a/#');
    await publishMany(local, 0, 5);
    await first.subscribe('r/#', 1);
    const ids = new Set<number | undefined>();
    for (let n = 0; n < 10; n++) ids.add((await first.next('publish')).messageId);
    expect(ids.size).toBe(10);
  });
});

describe('retained messages that a session was not sent, or did not acknowledge,', () => {
  const retain = (to: LocalGateway, name: string, payload: string, qos: 1 | 2 = 1) =>
    publish(to, message(payload, `r/${name}`, { retain: true, qos }));
  const setUp = async (given: Parameters<typeof startLocalGateway>[0] = {}, qos: 1 | 2 = 1) => {
    const local = await gateway(given);
    for (const name of ['a', 'b', 'c', 'd']) await retain(local, name, name, qos);
    const { wire } = await Wire.open(local, 'sub');
    await wire.subscribe('r/+', qos);
    return { local, wire };
  };
  const gone = async (local: LocalGateway, wire: Wire) => {
    await wire.vanish();
    while (local.registry.count('mqtt') > 0) await new Promise<void>((resolve) => setImmediate(resolve));
  };

  it('are sent at its return, as they are by then, those that were sent with DUP and under their identifiers', async () => {
    const { local, wire: first } = await setUp({ limits: { inflight: 3 } });
    const [one, two, three] = [await first.next('publish'), await first.next('publish'), await first.next('publish')];
    expect([one, two, three].map(({ payload, retain }) => `${payload}${retain}`)).toEqual(['atrue', 'btrue', 'ctrue']);
    first.send({ cmd: 'puback', messageId: two.messageId ?? 0 });
    expect(await first.next('publish')).toMatchObject({ payload: Buffer.from('d'), dup: false });
    await gone(local, first);
    await publish(local, message('', 'r/c', { retain: true }));
    const { wire } = await Wire.open(local, 'sub');
    const again = [await wire.next('publish'), await wire.next('publish'), await wire.next('publish')];
    expect(again.map(({ payload, dup, retain, messageId }) => [String(payload), dup, retain, messageId])).toEqual([
      ['', false, false, expect.any(Number)],
      ['a', true, true, one.messageId],
      ['d', true, true, expect.any(Number)],
    ]);
    for (const { messageId = 0 } of again) wire.send({ cmd: 'puback', messageId });
    await wire.settled();
    await gone(local, wire);
    const last = await Wire.open(local, 'sub');
    await last.wire.settled();
    expect(last.wire.got).toEqual([]);
  });

  it.each(['stop', 'power cut'])('are sent after a %s', async (how) => {
    const { local, wire: first } = await setUp();
    expect(await first.messages(1)).toEqual(['a/1']);
    expect(await first.messages(3, false)).toEqual(['b/1', 'c/1', 'd/1']);
    await first.settled();
    await gone(local, first);
    const next = (from: LocalGateway) => (how === 'stop' ? restart(from) : afterPowerCut(from));
    const again = await next(local);
    const { wire, present } = await Wire.open(again, 'sub');
    expect(present).toBe(true);
    // which of them it had acknowledged is not known after a restart
    const got = await wire.messages(4);
    expect(got.slice(-3)).toEqual(['b/1', 'c/1', 'd/1']);
    await wire.settled();
    await again.sessionStore.flush(true);
    await gone(again, wire);
    const last = await Wire.open(await next(again), 'sub');
    await last.wire.settled();
    expect(last.wire.got).toEqual([]);
  });

  it('are not due any more where a start finds none: what is retained later comes once', async () => {
    const { local, wire: first } = await setUp();
    await first.messages(4, false);
    await gone(local, first);
    for (const name of ['a', 'b', 'c', 'd']) await publish(local, message('', `r/${name}`, { retain: true }));
    const empty = await restart(local);
    await empty.sessionStore.flush(true);
    await retain(empty, 'a', 'new');
    const { wire } = await Wire.open(await restart(empty), 'sub');
    expect((await wire.messages(5)).at(-1)).toBe('new/1');
    await wire.settled();
    expect(wire.got).toEqual([]);
  });

  it('are not sent again at QoS 2 once they were received, and their handshake goes on', async () => {
    const { local, wire: first } = await setUp({}, 2);
    const [{ messageId = 0 }] = [await first.next('publish'), await first.next('publish')];
    first.send({ cmd: 'pubrec', messageId });
    await first.next('pubrel');
    await gone(local, first);
    const { wire } = await Wire.open(local, 'sub');
    expect(await wire.next('pubrel')).toMatchObject({ messageId });
    expect(await wire.messages(3)).toEqual(['b/2+', 'c/2+', 'd/2+']);
    wire.send({ cmd: 'pubcomp', messageId });
    await wire.settled();
    expect(wire.got).toEqual([]);
  });

  it('are not sent where it has unsubscribed, or comes with clean session 1', async () => {
    const { local, wire: first } = await setUp();
    first.send({ cmd: 'unsubscribe', messageId: 9, unsubscriptions: ['r/+'] });
    await first.next('unsuback');
    await gone(local, first);
    const { wire } = await Wire.open(local, 'sub');
    await wire.settled();
    expect(wire.got).toEqual([]);
    await wire.subscribe('r/a', 1);
    await wire.next('publish');
    await gone(local, wire);
    const { wire: clean } = await Wire.open(local, 'sub', true);
    await clean.settled();
    expect(clean.got).toEqual([]);
  });
});

describe('a QoS 2 handshake', () => {
  it('of a publisher goes on after a power cut: nothing is taken twice, and an identifier is free again', async () => {
    const local = await gateway();
    await (await subscriber(local)).close();
    const { wire } = await Wire.open(local, 'pub');
    wire.publish('a/b', 'one', 2, 7);
    await wire.next('pubrec');
    const again = await afterPowerCut(local);
    const second = await Wire.open(again, 'pub');
    second.wire.publish('a/b', 'one', 2, 7, true);
    await second.wire.next('pubrec');
    second.wire.send({ cmd: 'pubrel', messageId: 7 });
    await second.wire.next('pubcomp');
    const cut = await afterPowerCut(again);
    const third = await Wire.open(cut, 'pub');
    third.wire.publish('a/b', 'two', 2, 7);
    await third.wire.next('pubrec');
    const { wire: receiver } = await Wire.open(cut, 'sub');
    expect(await receiver.messages(2)).toEqual(['one/1', 'two/1']);
    await receiver.settled();
    expect(receiver.got).toEqual([]);
  });

  it('with a subscriber goes on after a power cut: PUBREL is repeated and the message is not', async () => {
    const local = await gateway();
    const first = await subscriber(local, 'a/#', 2);
    await publish(local, message('x', 'a/b', { qos: 2 }));
    const { messageId } = await first.next('publish');
    first.send({ cmd: 'pubrec', messageId: messageId ?? 0 });
    await first.next('pubrel');
    const again = await afterPowerCut(local);
    const { wire } = await Wire.open(again, 'sub');
    expect(await wire.next('pubrel')).toMatchObject({ messageId });
    wire.send({ cmd: 'pubcomp', messageId: messageId ?? 0 });
    await publish(again, message('y', 'a/b', { qos: 2 }));
    expect(await wire.messages(1)).toEqual(['y/2']);
    expect(wire.got).toEqual([]);
  });
});
