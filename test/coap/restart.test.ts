import { describe, expect, it } from 'vitest';
import type { AclRule } from '../../src/connections/index.ts';
import { message, settle } from '../log/support.ts';
import { again, here, numberOf, run, there } from './support/restarting.ts';

/** Connected clients over a restart of the gateway: an orderly one, a killed process, a power cut. */

const ways = ['stopped', 'killed', 'power cut'] as const;

describe.each(ways)('a connected client, where the gateway was %s,', (way) => {
  it('is still connected and subscribed, with its token', async () => {
    const old = await run();
    const who = await old.connect('dev');
    expect(await old.subscribe(who, 'cmd/+', 'a1')).toBe('2.05');
    const site = await again(old, way);
    expect(site.registry.find('dev@app')).toMatchObject({ username: '', network: 'coap', address: '192.0.2.1:1000' });
    expect(site.resources.subscriptions('dev@app')).toEqual([{ topic: 'cmd/+', qos: 1 }]);
    await site.publish('cmd/on', 'x');
    expect(await site.acknowledged()).toEqual(['192.0.2.1:1000 a1 x']);
    expect(await site.beat(who)).toBe('2.01');
    expect(await site.beat([who[0] ?? '', 'token=wrong'])).toMatch(/^4\.01/);
  });

  it('gets what it had not acknowledged, in order, and then what comes in', async () => {
    const old = await run();
    const who = await old.connect('dev');
    await old.subscribe(who, 'cmd', 'a1');
    await old.publish('cmd', '1');
    expect(await old.acknowledged()).toHaveLength(1);
    for (let n = 2; n < 30; n++) await old.publish('cmd', `${n}`);
    old.clock.advance(1_000);
    await settle(old.clock);
    const site = await again(old, way);
    await site.publish('cmd', '30');
    const got = await site.acknowledged();
    const expected = Array.from({ length: 29 }, (_, n) => `192.0.2.1:1000 a1 ${n + 2}`);
    expect(got.filter((one) => !one.endsWith(' 1'))).toEqual(expected);
    // what was acknowledged before an orderly stop does not come again
    if (way !== 'power cut') expect(got).toEqual(expected);
    expect(await site.acknowledged(() => undefined)).toHaveLength(got.length);
  });

  it('gets the retained messages that it had not acknowledged when it subscribed, each as it is by then', async () => {
    const old = await run();
    for (const topic of ['set/a', 'set/b', 'set/c', 'set/d']) await old.publish(topic, topic, { retain: true });
    const who = await old.connect('dev');
    await old.subscribe(who, 'set/+', 'a1');
    // the first is acknowledged, the second is not
    expect(await old.acknowledged((one) => (one.payload === 'set/a' ? 'ACK' : undefined))).toHaveLength(2);
    const site = await again(old, way);
    await site.publish('set/d', 'new', { retain: true });
    const got = await site.acknowledged();
    for (const payload of ['set/b', 'set/c', 'new']) expect(got).toContain(`192.0.2.1:1000 a1 ${payload}`);
    expect(got.filter((one) => one.endsWith('set/d'))).toEqual([]);
    site.clock.advance(1_000);
    await settle(site.clock);
    const last = await again(site, way);
    // that it has them is on the disk by now, if not synced
    if (way !== 'power cut') expect(await last.acknowledged()).toEqual([]);
    expect(await last.beat(who)).toBe('2.01');
  });

  it('that logged in anew meanwhile gets it once it has subscribed again', async () => {
    const old = await run();
    await old.subscribe(await old.connect('dev'), 'cmd', 'a1');
    await old.publish('cmd', '1');
    const site = await again(old, way);
    const who = await site.connect('dev', there);
    await site.publish('cmd', '2');
    const before = site.notifications().length;
    expect(await site.subscribe(who, 'cmd', 'b2', there)).toBe('2.05');
    await site.publish('cmd', '3');
    const got = (await site.acknowledged()).slice(before);
    expect(got).toEqual(['1', '2', '3'].map((payload) => `198.51.100.9:2000 b2 ${payload}`));
  });
});

describe('a connected client', () => {
  it('is numbered on from what it was sent before, whatever the clock does', async () => {
    const old = await run();
    await old.subscribe(await old.connect('dev'), 'cmd', 'a1');
    for (let n = 0; n < 20; n++) await old.publish('cmd', 'x');
    await old.acknowledged();
    const last = numberOf(old.notifications().at(-1));
    old.clock.step(-40 * 365 * 86_400_000);
    const site = await again(old, 'killed');
    await site.publish('cmd', 'y');
    const first = numberOf(site.notifications()[0]);
    expect((first - last) & 0xff_ffff).toBeGreaterThan(0);
    expect((first - last) & 0xff_ffff).toBeLessThan(0x80_0000);
  });

  it('gets nothing again that came in before it subscribed, or that has expired', async () => {
    const old = await run();
    const who = await old.connect('dev');
    await old.subscribe(await old.connect('other', there), 'cmd', 'b2', there);
    await old.publish('cmd', 'before');
    await old.subscribe(who, 'cmd', 'a1');
    await old.publish('cmd', 'short', { expiry: 3 });
    await old.publish('cmd', 'long', { expiry: 30 });
    const site = await again(old, 'killed');
    expect((await site.acknowledged()).sort()).toEqual([
      '192.0.2.1:1000 a1 long',
      '198.51.100.9:2000 b2 before',
      '198.51.100.9:2000 b2 long',
    ]);
  });

  it('is sent to where it was last seen', async () => {
    const old = await run();
    const who = await old.connect('dev');
    await old.subscribe(who, 'cmd', 'a1');
    await old.beat(who, there);
    old.clock.advance(300);
    await settle(old.clock);
    const site = await again(old, 'killed');
    await site.publish('cmd', 'x');
    expect(await site.acknowledged()).toEqual(['198.51.100.9:2000 a1 x']);
  });

  it('is not kept where it unsubscribed, said goodbye or was silent for too long', async () => {
    const old = await run();
    const first = await old.connect('first');
    await old.subscribe(first, 'cmd', 'a1');
    await old.ask({ code: 1, path: 'ps/cmd', observe: 1, token: 'ff', query: first });
    const second = await old.connect('second');
    await old.subscribe(second, 'cmd', 'a2');
    await old.ask({ code: 4, path: 'mqtt/connection', query: second });
    old.clock.advance(46_000);
    await settle(old.clock);
    const third = await old.connect('third');
    await old.subscribe(third, 'cmd', 'a3');
    old.clock.advance(46_000);
    await settle(old.clock);
    expect(old.registry.find('third@app')).toBeUndefined();
    old.clock.advance(300);
    await settle(old.clock);
    const site = await again(old, 'killed');
    expect([...site.registry.all()]).toEqual([]);
    await site.publish('cmd', 'x');
    expect(site.notifications()).toEqual([]);
  });

  it('is gone where it does not show itself after the restart', async () => {
    const old = await run();
    await old.subscribe(await old.connect('dev'), 'cmd', 'a1');
    const site = await again(old, 'power cut');
    site.clock.advance(46_000);
    await settle(site.clock);
    expect(site.registry.find('dev@app')).toBeUndefined();
  });

  it('is not kept for a subscription of QoS 0, which costs the disk nothing', async () => {
    const old = await run();
    await old.subscribe(await old.connect('dev'), 'cmd', 'a1', here, 0);
    const site = await again(old, 'stopped');
    expect([...site.registry.all()]).toEqual([]);
  });

  it('does not come back where its user is gone or has another password, or may not read the topic any more', async () => {
    const passwords = { ann: 'secret', bob: 'secret', eve: 'secret' };
    const old = await run({ anonymous: false, passwords });
    await old.subscribe(await old.connect('a', here, 'username=ann', 'password=secret'), 'cmd', 'a1');
    await old.subscribe(await old.connect('b', there, 'username=bob', 'password=secret'), 'cmd', 'b2', there);
    await old.subscribe(await old.connect('c', there, 'username=bob', 'password=secret'), 'secret', 'c3', there);
    await old.subscribe(await old.connect('e', there, 'username=eve', 'password=secret'), 'cmd', 'e4', there);
    const rules: AclRule[] = [
      { effect: 'deny', action: 'subscribe', user: '*', client: '*', topic: 'secret' },
      { effect: 'allow', action: 'all', user: '*', client: '*', topic: '#' },
    ];
    const site = await again(old, 'stopped', { passwords: { bob: 'secret', eve: 'another' }, rules });
    expect(Array.from(site.registry.all(), ({ clientId }) => clientId)).toEqual(['b@app']);
  });

  it('owes nothing to another user of the same client id', async () => {
    const passwords = { ann: 'secret', bob: 'secret' };
    const old = await run({ anonymous: false, passwords });
    await old.subscribe(await old.connect('a', here, 'username=ann', 'password=secret'), 'cmd', 'a1');
    await old.publish('cmd', 'for ann');
    const site = await again(old, 'killed');
    const before = site.notifications().length;
    const bob = await site.connect('a', there, 'username=bob', 'password=secret');
    await site.subscribe(bob, 'cmd', 'b2', there);
    await site.publish('cmd', 'for bob');
    expect((await site.acknowledged()).slice(before)).toEqual(['198.51.100.9:2000 b2 for bob']);
  });

  it('that does not know the token any more is waited for, and then not', async () => {
    const old = await run();
    const who = await old.connect('dev');
    await old.subscribe(who, 'cmd', 'a1');
    await old.publish('cmd', '1');
    expect(await old.acknowledged(() => 'RST')).toEqual(['192.0.2.1:1000 a1 1']);
    await old.publish('cmd', '2');
    expect(old.notifications()).toHaveLength(1);
    await old.subscribe(who, 'cmd', 'a2');
    expect((await old.acknowledged()).slice(1)).toEqual(['192.0.2.1:1000 a2 1', '192.0.2.1:1000 a2 2']);
    await old.publish('cmd', '3');
    await old.acknowledged((one) => (one.payload === '3' ? 'RST' : undefined));
    for (let n = 0; n < 4; n++) {
      old.clock.advance(20_000);
      await old.beat(who);
    }
    expect(old.base.metrics.value('holdfast_coap_owed_messages')).toBe(0);
    expect(old.base.metrics.value('holdfast_coap_owed_dropped_total', { reason: 'gone' })).toBe(1);
    const before = old.notifications().length;
    await old.subscribe(who, 'cmd', 'a3');
    expect(old.notifications()).toHaveLength(before);
  });

  it('that did not answer for a while is sent to again when it shows itself', async () => {
    const old = await run();
    const who = await old.connect('dev');
    await old.subscribe(who, 'cmd', 'a1');
    await old.publish('cmd', '1');
    for (let n = 0; n < 8; n++) {
      old.clock.advance(15_000);
      await settle(old.clock);
      await old.ask({ code: 2, path: 'ps/other', query: who, payload: 'x' }, here);
    }
    expect(old.base.metrics.value('holdfast_coap_owed_messages')).toBe(1);
    const before = old.notifications().length;
    await old.beat(who, there);
    expect((await old.acknowledged()).slice(before)).toEqual(['198.51.100.9:2000 a1 1']);
    expect(old.base.metrics.value('holdfast_coap_owed_messages')).toBe(0);
  });

  it('is owed a thousand messages for a subscription, the newest', async () => {
    const old = await run();
    await old.subscribe(await old.connect('dev'), 'cmd', 'a1');
    for (let n = 0; n < 1_050; n++) await old.publish('cmd', `${n}`);
    expect(old.base.metrics.value('holdfast_coap_owed_messages')).toBe(1_000);
    expect(old.base.metrics.value('holdfast_coap_owed_dropped_total', { reason: 'queue_full' })).toBe(50);
    const site = await again(old, 'killed');
    const got = await site.acknowledged();
    expect(got.at(-1)).toBe('192.0.2.1:1000 a1 1049');
    expect(got).toHaveLength(1_000);
  });

  it('is owed no more than there is room for, of what all are owed', async () => {
    const old = await run();
    const topics = Array.from({ length: 20 }, (_, n) => `t${n}`);
    for (const [at, topic] of topics.entries()) {
      const from = { address: '192.0.2.9', port: 1_000 + at };
      await old.subscribe(await old.connect(topic, from), topic, 'a1', from);
    }
    const payload = 'x'.repeat(1_000);
    for (let n = 0; n < 900; n++) {
      for (const topic of topics) old.pipeline.publish(message(payload, topic), () => undefined);
      await settle(old.clock, 3);
    }
    const owed = old.base.metrics.value('holdfast_coap_owed_messages') ?? 0;
    expect(owed).toBeGreaterThan(10_000);
    // with what each takes beside its payload
    expect(owed * 1_250).toBeLessThan(16 * 1024 * 1024);
  });

  it('has its message on the disk, though an upstream has it', async () => {
    const old = await run();
    await old.subscribe(await old.connect('dev'), 'cmd', 'a1');
    // takes everything at once, and acknowledges it
    old.log.deliverThrough({
      takes: (_message, id) => {
        queueMicrotask(() => old.log.delivered(id));
        return 'now';
      },
    });
    await old.publish('cmd', '1', { origin: 'rest' });
    const site = await again(old, 'power cut');
    expect(await site.acknowledged()).toEqual(['192.0.2.1:1000 a1 1']);
  });

  it('is let go, and named, where what was kept of it is damaged; others are not', async () => {
    const old = await run();
    await old.subscribe(await old.connect('a'), 'cmd', 'a1');
    await old.subscribe(await old.connect('b', there), 'cmd', 'b2', there);
    await old.publish('cmd', '1');
    old.clock.advance(300);
    await settle(old.clock);
    old.disks.sessions.damage('k', 0, (value) => value.fill(0, 8, 9));
    const site = await again(old, 'killed');
    expect(Array.from(site.registry.all(), ({ clientId }) => clientId)).toEqual(['b@app']);
    expect(site.health.active()).toMatchObject([{ code: 'sessions_damaged', detail: '1 entries are lost, of a@app' }]);
    expect(await site.acknowledged()).toEqual(['198.51.100.9:2000 b2 1']);
  });

  it('gets what it is owed where the disk does not say from where on', async () => {
    const old = await run();
    await old.subscribe(await old.connect('a'), 'cmd', 'a1');
    await old.publish('cmd', '1');
    old.clock.advance(300);
    await settle(old.clock);
    await old.publish('cmd', '2');
    old.disks.sessions.damage('o', 0, () => undefined);
    const site = await again(old, 'killed');
    expect((await site.acknowledged()).at(-1)).toBe('192.0.2.1:1000 a1 2');
  });
});
