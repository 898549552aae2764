import { afterEach, describe, expect, it } from 'vitest';
import { settle } from '../log/support.ts';
import { type SiteOptions, startSite } from './support/site.ts';
import { type Ask, MemoryTransport, request, type Sent } from './support/wire.ts';

const running: { stop(): Promise<void> }[] = [];

afterEach(async () => {
  for (const site of running.splice(0).reverse()) await site.stop();
});

/** The resources on the message layer, a pipeline and a log in memory, under a fake clock. */
async function setUp(given: SiteOptions = {}) {
  const transport = new MemoryTransport();
  const site = await startSite(() => [transport], given);
  running.push(site);
  const { clock, log, publish, registry, resources } = site;
  let mid = 100;
  const here = { address: '192.0.2.1', port: 1000 };
  /** Sends a request and gives what was sent because of it. */
  const ask = async (given: Ask, from: { address: string; port: number } = here): Promise<Sent> => {
    const before = transport.sent.length;
    const id = given.mid ?? mid++;
    transport.listener?.received(request({ ...given, mid: id }), from.address, from.port);
    await settle(clock);
    const answer = transport.sent.slice(before).find((one) => one.mid === id);
    if (answer === undefined) throw new Error('no answer');
    return answer;
  };
  const connect = async (clientid: string, from = here): Promise<string> => {
    const answer = await ask({ code: 2, path: 'mqtt/connection', query: [`clientid=${clientid}`] }, from);
    expect(answer.code).toBe('2.01');
    return answer.payload;
  };
  /** Notifications so far, as `to payload`. */
  const notified = () =>
    transport.sent
      .filter((one) => one.options[6] !== undefined && one.type !== 'ACK')
      .map((one) => `${one.to} ${one.payload}`);
  /** Acknowledges the last CON that went out. */
  const acknowledge = async () => {
    const last = transport.sent.findLast((one) => one.type === 'CON');
    if (last === undefined) throw new Error('nothing to acknowledge');
    const [address = '', port = ''] = last.to.split(':');
    transport.listener?.received(
      request({ type: 'ACK', code: 0, mid: last.mid, token: '', path: '' }).subarray(0, 4),
      address,
      Number(port),
    );
    await settle(clock);
  };
  /** What was recorded, in short. */
  const recorded = async () => {
    clock.advance(250);
    await settle(clock);
    const { events } = await log.events.read(log.events.head, { bytes: Number.POSITIVE_INFINITY });
    return Array.from(events, (event) =>
      event.kind === 'delivered'
        ? `delivered ${event.clientId} ${event.message}/${event.qos}`
        : `${event.kind} ${event.clientId} ${event.reason} ${event.network} ${event.keepalive}`,
    );
  };
  return { log, resources, recorded, clock, registry, transport, ask, connect, notified, publish, acknowledge, here };
}

const there = { address: '198.51.100.9', port: 2000 };

describe('what is recorded', () => {
  it('is who came and went, and what was received: CON when it is acknowledged, NON when it is sent', async () => {
    const { ask, connect, publish, acknowledge, recorded, log, resources } = await setUp();
    const who = ['clientid=dev', `token=${await connect('dev')}`];
    await publish('kept', 'r', { retain: true });
    await ask({ code: 1, path: 'ps/non', observe: 0, query: [...who, 'qos=0'], token: '01' });
    await ask({ code: 1, path: 'ps/kept', observe: 0, query: [...who, 'qos=2'], token: '02' });
    expect(resources.subscriptions('dev@app')).toEqual([
      { topic: 'non', qos: 0 },
      { topic: 'kept', qos: 2 },
    ]);
    const first = log.next - 1n;
    expect(await recorded()).toEqual(['connected dev@app normal coap 30']);
    await acknowledge();
    await publish('non', 'x');
    const before = [
      'connected dev@app normal coap 30',
      `delivered dev@app ${first}/1`,
      `delivered dev@app ${first + 1n}/0`,
    ];
    expect(await recorded()).toEqual(before);
    await ask({ code: 2, path: 'ps/other', query: who, payload: 'x' });
    await ask({ code: 4, path: 'mqtt/connection', query: who });
    expect(await recorded()).toEqual([...before, 'disconnected dev@app normal coap 30']);
    const { messages } = await log.read(log.next - 1n, { records: 1, bytes: 1 });
    expect(messages[0]?.connection).toBeGreaterThan(0n);
  });

  it('names a client without a connection where it gave its id', async () => {
    const { ask, publish, recorded, log } = await setUp({ mode: 'connectionless' });
    await ask({ code: 1, path: 'ps/a', observe: 0, query: ['clientid=dev', 'qos=0'], token: '01' });
    await ask({ code: 1, path: 'ps/a', observe: 0, query: ['qos=0'], token: '02' });
    await publish('a', 'x');
    expect(await recorded()).toEqual([`delivered dev@app ${log.next - 1n}/0`]);
  });
});

describe('a connection', () => {
  it('ends after 1.5 heartbeats of silence, with a last 4.04 to its observers, and not while it shows itself', async () => {
    const { ask, connect, clock, transport, registry } = await setUp();
    const token = await connect('dev');
    const who = ['clientid=dev', `token=${token}`];
    await ask({ code: 1, path: 'ps/a', observe: 0, query: [...who, 'qos=0'] });
    clock.advance(40_000);
    expect((await ask({ code: 3, path: 'mqtt/connection', query: who })).code).toBe('2.01');
    clock.advance(44_000);
    expect(registry.find('dev@app')).toBeDefined();
    clock.advance(2_000);
    await settle(clock);
    expect(registry.find('dev@app')).toBeUndefined();
    expect(transport.sent.at(-1)?.code).toBe('4.04');
    expect((await ask({ code: 3, path: 'mqtt/connection', query: who })).code).toBe('4.01');
  });

  it('is not kept alive by a wrong token, nor are its notifications diverted by one', async () => {
    const { ask, connect, clock, registry, notified, publish } = await setUp();
    const token = await connect('dev');
    await ask({ code: 1, path: 'ps/a', observe: 0, query: ['clientid=dev', `token=${token}`, 'qos=0'] });
    clock.advance(40_000);
    expect((await ask({ code: 3, path: 'mqtt/connection', query: ['clientid=dev', 'token=guess'] }, there)).code).toBe(
      '4.01',
    );
    await publish('a', 'secret');
    expect(notified()).toEqual(['192.0.2.1:1000 secret']);
    clock.advance(6_000);
    expect(registry.find('dev@app')).toBeUndefined();
  });

  it('is taken over at once by a new valid login, which ends the old token and its observations', async () => {
    const { ask, connect, notified, publish } = await setUp();
    const old = await connect('dev');
    await ask({ code: 1, path: 'ps/a', observe: 0, query: ['clientid=dev', `token=${old}`, 'qos=0'] });
    const fresh = await connect('dev@app', there);
    expect(fresh).not.toBe(old);
    expect((await ask({ code: 3, path: 'mqtt/connection', query: ['clientid=dev', `token=${old}`] })).code).toBe(
      '4.01',
    );
    expect(
      (await ask({ code: 3, path: 'mqtt/connection', query: ['clientid=dev', `token=${fresh}`] }, there)).code,
    ).toBe('2.01');
    await publish('a', 'x');
    expect(notified()).toEqual([]);
  });

  it('is not taken over by a login that fails', async () => {
    const { ask, connect } = await setUp({ passwords: { ann: 'right' } });
    const token = await connect('dev');
    const wrong = ['clientid=dev', 'username=ann', 'password=wrong'];
    const refused = await ask({ code: 2, path: 'mqtt/connection', query: wrong }, there);
    expect(`${refused.code} ${refused.payload}`).toBe('4.01 Login Failed: not_authorized');
    expect((await ask({ code: 3, path: 'mqtt/connection', query: ['clientid=dev', `token=${token}`] })).code).toBe(
      '2.01',
    );
  });

  it('shares its address and port with many others', async () => {
    const { ask, connect, notified, publish } = await setUp();
    const tokens = new Map<string, string>();
    for (const id of ['a', 'b', 'c']) tokens.set(id, await connect(id));
    for (const [id, token] of tokens) {
      const query = [`clientid=${id}`, `token=${token}`, 'qos=0'];
      expect((await ask({ code: 1, path: `ps/to/${id}`, observe: 0, token: `0${id}`, query })).code).toBe('2.05');
    }
    await publish('to/b', 'for b');
    expect(notified()).toEqual(['192.0.2.1:1000 for b']);
    await ask({ code: 4, path: 'mqtt/connection', query: ['clientid=b', `token=${tokens.get('b')}`] });
    await publish('to/b', 'nobody');
    await publish('to/c', 'for c');
    expect(notified()).toEqual(['192.0.2.1:1000 for b', '192.0.2.1:1000 for c']);
  });

  it('of another application is refused, and one that the client asks for under a bad id', async () => {
    const { ask } = await setUp();
    for (const id of ['dev@other', '@app', 'a@b@app', 'x'.repeat(61), 'tab\t']) {
      expect((await ask({ code: 2, path: 'mqtt/connection', query: [`clientid=${id}`] })).code).toBe('4.00');
    }
  });
});

describe('a change of address', () => {
  it('moves notifications when a heartbeat comes from there, token checked', async () => {
    const { ask, connect, notified, publish } = await setUp();
    const who = ['clientid=dev', `token=${await connect('dev')}`];
    await ask({ code: 1, path: 'ps/a', observe: 0, query: [...who, 'qos=0'] });
    await ask({ code: 3, path: 'mqtt/connection', query: who }, there);
    await publish('a', 'x');
    expect(notified()).toEqual(['198.51.100.9:2000 x']);
  });

  it('does not take them away for one publish from a second socket, but for one when the first fell silent', async () => {
    const { ask, connect, notified, publish, clock } = await setUp();
    const who = ['clientid=dev', `token=${await connect('dev')}`];
    await ask({ code: 1, path: 'ps/a', observe: 0, query: [...who, 'qos=0'] });
    await ask({ code: 2, path: 'ps/b', query: who, payload: 'up' }, there);
    await publish('a', 'x');
    clock.advance(31_000);
    await ask({ code: 2, path: 'ps/b', query: who, payload: 'up' }, there);
    await publish('a', 'y');
    expect(notified()).toEqual(['192.0.2.1:1000 x', '198.51.100.9:2000 y']);
  });
});

describe('a subscription', () => {
  it('is one per client and topic: a new token takes the place of the old', async () => {
    const { ask, connect, transport, publish } = await setUp();
    const who = ['clientid=dev', `token=${await connect('dev')}`, 'qos=0'];
    await ask({ code: 1, path: 'ps/a', observe: 0, token: 'aa', query: who });
    await ask({ code: 1, path: 'ps/a', observe: 0, token: 'bb', query: who });
    const before = transport.sent.length;
    await publish('a', 'x');
    expect(transport.sent.slice(before).map((one) => one.token)).toEqual(['bb']);
  });

  it('ends by Observe 1 whatever the token, and answers 2.07 also where there was none', async () => {
    const { ask, connect, notified, publish } = await setUp();
    const who = ['clientid=dev', `token=${await connect('dev')}`];
    await ask({ code: 1, path: 'ps/a', observe: 0, token: 'aa', query: who });
    for (let n = 0; n < 2; n++) {
      expect((await ask({ code: 1, path: 'ps/a', observe: 1, token: 'cc', query: who })).code).toBe('2.07');
    }
    await publish('a', 'x');
    expect(notified()).toEqual([]);
  });

  it('with qos decides the kind of its notifications, whatever the message’s', async () => {
    const { ask, connect, transport, publish, acknowledge } = await setUp();
    const who = ['clientid=dev', `token=${await connect('dev')}`];
    await ask({ code: 1, path: 'ps/a', observe: 0, token: 'aa', query: [...who, 'q=0'] });
    await ask({ code: 1, path: 'ps/b', observe: 0, token: 'bb', query: [...who, 'q=1'] });
    const before = transport.sent.length;
    await publish('a', 'x', { qos: 2 });
    await publish('b', 'y', { qos: 0 });
    expect(transport.sent.slice(before).map((one) => `${one.type} ${one.payload}`)).toEqual(['NON x', 'CON y']);
    await acknowledge();
  });

  it('gets all retained messages that match, one after the other, and only what is still there', async () => {
    const { ask, connect, notified, publish, acknowledge } = await setUp();
    for (const n of [1, 2, 3]) await publish(`kept/${n}`, `v${n}`, { retain: true });
    const who = ['clientid=dev', `token=${await connect('dev')}`];
    await ask({ code: 1, path: 'ps/kept/+', observe: 0, query: [...who, 'qos=1'] });
    expect(notified()).toEqual(['192.0.2.1:1000 v1']);
    await publish('kept/2', '', { retain: true });
    for (let n = 0; n < 3; n++) await acknowledge();
    expect(notified().map((one) => one.split(' ')[1])).toEqual(['v1', '', 'v3']);
  });

  it('is bounded per client, and refused by the rules with a text', async () => {
    const { ask, connect } = await setUp({
      maxSubscriptions: 1,
      rules: [{ effect: 'allow', action: 'all', user: '*', client: '*', topic: 'ok/#' }],
    });
    const who = ['clientid=dev', `token=${await connect('dev')}`];
    expect((await ask({ code: 1, path: 'ps/ok/1', observe: 0, query: who })).code).toBe('2.05');
    expect((await ask({ code: 1, path: 'ps/ok/2', observe: 0, token: '02', query: who })).code).toBe('5.03');
    const refused = await ask({ code: 1, path: 'ps/no', observe: 0, token: '03', query: who });
    expect(`${refused.code} ${refused.payload}`).toBe('4.01 not authorized by the access rules');
    const published = await ask({ code: 2, path: 'ps/no', query: who, payload: 'x' });
    expect(`${published.code} ${published.payload}`).toBe('4.01 not authorized by the access rules');
  });
});

describe('connectionless mode', () => {
  it('checks user name and password on every request where anonymous clients are not let in', async () => {
    const { ask } = await setUp({ mode: 'connectionless', anonymous: false, passwords: { ann: 'a=b' } });
    expect((await ask({ code: 2, path: 'ps/a', payload: 'x', query: ['u=ann', 'p=a=b'] })).code).toBe('2.04');
    for (const query of [[], ['u=ann', 'p=wrong'], ['u=bob', 'p=a=b'], ['clientid=dev']]) {
      expect((await ask({ code: 2, path: 'ps/a', payload: 'x', query })).code).toBe('4.01');
      expect((await ask({ code: 1, path: 'ps/a', observe: 0, query })).code).toBe('4.01');
      expect((await ask({ code: 1, path: 'ps/a', query })).code).toBe('4.01');
    }
  });

  it('lets a device connect and show itself if it likes, under the same checks', async () => {
    const { ask, connect } = await setUp({ mode: 'connectionless' });
    const token = await connect('dev');
    expect((await ask({ code: 3, path: 'mqtt/connection', query: ['clientid=dev', `token=${token}`] })).code).toBe(
      '2.01',
    );
    expect((await ask({ code: 4, path: 'mqtt/connection', query: ['clientid=dev', 'token=guess'] })).code).toBe('4.01');
    expect((await ask({ code: 2, path: 'ps/a', payload: 'x' })).code).toBe('2.04');
  });

  it('answers a known retained message with 2.03 and the ETag alone', async () => {
    const { ask, publish } = await setUp({ mode: 'connectionless' });
    await publish('a', '21.5', { retain: true });
    const first = await ask({ code: 1, path: 'ps/a' });
    expect(`${first.code} ${first.payload}`).toBe('2.05 21.5');
    const etag = first.options[4] ?? Buffer.alloc(0);
    const again = await ask({ code: 1, path: 'ps/a', options: [[4, etag]] });
    expect(`${again.code} ${again.payload}`).toBe('2.03 ');
  });

  it('gives 4.00 for every value that does not parse, 4.04 and 4.05 where they are due', async () => {
    const { ask } = await setUp({ mode: 'connectionless' });
    for (const query of ['qos=3', 'qos=', 'retain=yes', 'retain', 'expiry=-1', 'expiry=1.5', 'expiry=4294967296']) {
      const answer = await ask({ code: 2, path: 'ps/a', payload: 'x', query: [query] });
      expect(answer.code, query).toBe('4.00');
      expect(answer.payload).toContain(query.split('=')[0]);
    }
    for (const path of ['ps', 'ps/', 'ps/a/+', 'ps/#', 'ps/a\u0000b']) {
      expect((await ask({ code: 2, path, payload: 'x' })).payload, path).toBe('invalid topic');
    }
    expect((await ask({ code: 1, path: 'ps/a', observe: 2 })).payload).toBe('invalid observe value');
    for (const path of ['nothing', 'mqtt', 'mqtt/x', 'mqtt/connection/x'])
      expect((await ask({ code: 1, path })).code).toBe('4.04');
    for (const code of [3, 4, 5, 31]) expect((await ask({ code, path: 'ps/a' })).code).toBe('4.05');
    expect((await ask({ code: 1, path: 'mqtt/connection' })).code).toBe('4.05');
    expect((await ask({ code: 2, path: 'ps/a', payload: 'x'.repeat(1_001) })).code).toBe('4.13');
  });

  it('retransmits nothing twice into the log: the same CON while its commit is under way is one message', async () => {
    const { transport, clock, here, notified, ask } = await setUp({ mode: 'connectionless' });
    await ask({ code: 1, path: 'ps/once', observe: 0, query: ['qos=0'], token: '77' }, there);
    const datagram = () => request({ code: 2, path: 'ps/once', payload: 'x', mid: 9 });
    for (let n = 0; n < 3; n++) transport.listener?.received(datagram(), here.address, here.port);
    await settle(clock);
    transport.listener?.received(datagram(), here.address, here.port);
    await settle(clock);
    expect(notified()).toHaveLength(1);
    const answers = transport.sent.filter((one) => one.mid === 9 && one.type === 'ACK').map((one) => one.code);
    expect(new Set(answers)).toEqual(new Set(['2.04']));
  });
});
