import { describe, expect, it } from 'vitest';
import type { AclRule } from '../../src/connections/index.ts';
import { message, settle } from '../log/support.ts';
import { again, here, numberOf, type Run, run, there } from './support/restarting.ts';
import { empty } from './support/wire.ts';

/** Observers without a connection over a restart of the gateway. */

const observe = (site: Run, topic: string, token: string, from = here, ...query: string[]) =>
  site.ask({ code: 1, path: `ps/${topic}`, observe: 0, token, query }, from);

/** Answers what was sent last with `type`. */
async function answer(site: Run, type: 'ACK' | 'RST', from = here): Promise<void> {
  await site.arrive(empty(type, site.notifications().at(-1)?.mid ?? 0), from);
}

const shown = (site: Run) => site.notifications().map((one) => `${one.to} ${one.type} ${one.token} ${one.payload}`);

/** Longer than what has changed waits to be written. */
async function tenMinutes({ clock }: Run): Promise<void> {
  for (let n = 0; n < 601; n++) clock.advance(1_000);
  await settle(clock);
}

describe('an observer without a connection, after a restart,', () => {
  it('is sent what comes in, to where it was, under its token and numbered on: once asking whether it is there', async () => {
    const old = await run({ mode: 'connectionless' });
    await observe(old, 'cmd', 'a1', here, 'qos=0');
    await observe(old, 'cmd/+', 'b2', there, 'qos=1');
    await old.publish('cmd', 'before');
    const last = numberOf(old.notifications().at(-1));
    const site = await again(old, 'stopped');
    await site.publish('cmd', 'one');
    await answer(site, 'ACK');
    await site.publish('cmd', 'two');
    await site.publish('cmd/x', 'three');
    expect(shown(site)).toEqual([
      '192.0.2.1:1000 CON a1 one',
      '192.0.2.1:1000 NON a1 two',
      '198.51.100.9:2000 CON b2 three',
    ]);
    const [first, second] = site.notifications().map(numberOf);
    expect((first ?? 0) - last).toBeGreaterThan(0);
    expect(second).toBe((first ?? 0) + 1);
    // the same endpoint may end it
    await site.ask({ code: 1, path: 'ps/cmd', observe: 1, token: 'a1' }, here);
    await site.publish('cmd', 'four');
    expect(shown(site)).toHaveLength(3);
  });

  it('goes on over many of them, numbered on each time', async () => {
    let site = await run({ mode: 'connectionless' });
    await observe(site, 'cmd', 'a1');
    const numbers: number[] = [];
    for (const how of ['stopped', 'killed', 'power cut', 'power cut', 'stopped'] as const) {
      site = await again(site, how);
      await site.publish('cmd', how);
      expect(shown(site)).toEqual([`192.0.2.1:1000 CON a1 ${how}`]);
      numbers.push(numberOf(site.notifications()[0]));
      await answer(site, 'ACK');
    }
    for (const [at, number] of numbers.slice(1).entries()) {
      const ahead = (number - (numbers[at] ?? 0)) & 0xff_ffff;
      expect(ahead).toBeGreaterThan(0);
      expect(ahead).toBeLessThan(0x80_0000);
    }
  });

  it('is gone where it does not know of it any more', async () => {
    const old = await run({ mode: 'connectionless' });
    await observe(old, 'cmd', 'a1', here, 'qos=0');
    let site = await again(old, 'stopped');
    await tenMinutes(site);
    await site.publish('cmd', 'one');
    await answer(site, 'RST');
    await site.publish('cmd', 'two');
    expect(shown(site)).toHaveLength(1);
    site = await again(site, 'stopped');
    await site.publish('cmd', 'three');
    expect(shown(site)).toEqual([]);
  });

  it.each(['killed', 'power cut'] as const)('that came by a %s, is as it was written last', async (how) => {
    const old = await run({ mode: 'connectionless' });
    await observe(old, 'a', 'a1');
    await observe(old, 'b', 'b2', there);
    await tenMinutes(old);
    // what a power cut leaves is what was synced
    await old.subscribe(await old.connect('other'), 'x', 'c3');
    await old.ask({ code: 1, path: 'ps/b', observe: 1, token: 'b2' }, there);
    await observe(old, 'c', 'd4', there);
    const site = await again(old, how);
    for (const topic of ['a', 'b', 'c']) await site.publish(topic, topic);
    expect(shown(site)).toEqual(['192.0.2.1:1000 CON a1 a', '198.51.100.9:2000 CON b2 b']);
  });

  it('is numbered on after any number of notifications', async () => {
    const old = await run({ mode: 'connectionless' });
    await observe(old, 'cmd', 'a1', here, 'qos=0');
    await tenMinutes(old);
    const send = async (count: number) => {
      for (let n = 0; n < count; n++) {
        old.pipeline.publish(message('x', 'cmd', { qos: 0 }), () => undefined);
        if (n % 1_000 === 0) await settle(old.clock, 3);
      }
      await settle(old.clock);
    };
    await send(0x1_0000);
    old.clock.advance(300);
    await settle(old.clock);
    await send(100);
    const last = numberOf(old.notifications().at(-1));
    const site = await again(old, 'killed');
    await site.publish('cmd', 'y');
    const ahead = (numberOf(site.notifications()[0]) - last) & 0xff_ffff;
    expect(ahead).toBeGreaterThan(0);
    expect(ahead).toBeLessThan(0x80_0000);
  });

  it('costs the disk nothing as often as it registers anew', async () => {
    const old = await run({ mode: 'connectionless' });
    old.clock.advance(1_000);
    await settle(old.clock);
    const { sessions } = old.disks;
    const write = sessions.write.bind(sessions);
    let writes = 0;
    sessions.write = (...given) => {
      writes += 1;
      return write(...given);
    };
    for (let n = 0; n < 50; n++) {
      await observe(old, 'cmd', `${10 + n}`);
      old.clock.advance(1_000);
      await settle(old.clock, 3);
    }
    expect(writes).toBe(0);
    await tenMinutes(old);
    expect(writes).toBe(1);
  });

  it('does not come back where it would not be let in now', async () => {
    const passwords = { ann: 'secret', bob: 'secret', eve: 'secret' };
    const old = await run({ mode: 'connectionless', anonymous: false, passwords });
    for (const [at, name] of ['ann', 'bob', 'eve'].entries()) {
      const from = { address: '192.0.2.1', port: 1_000 + at };
      await observe(old, 'cmd', `a${at}`, from, `username=${name}`, 'password=secret');
      await observe(old, 'secret', `b${at}`, from, `username=${name}`, 'password=secret');
    }
    const rules: AclRule[] = [
      { effect: 'deny', action: 'subscribe', user: '*', client: '*', topic: 'secret' },
      { effect: 'allow', action: 'all', user: '*', client: '*', topic: '#' },
    ];
    const site = await again(old, 'stopped', { passwords: { bob: 'secret', eve: 'another' }, rules });
    await site.publish('cmd', 'x');
    await site.publish('secret', 'y');
    expect(shown(site)).toEqual(['192.0.2.1:1001 CON a1 x']);
    const strict = await again(site, 'stopped', { mode: 'connection' });
    await strict.publish('cmd', 'x');
    expect(shown(strict)).toEqual([]);
  });

  it('does not take the place of one that has registered anew', async () => {
    const old = await run({ mode: 'connectionless' });
    await observe(old, 'cmd', 'a1');
    const site = await again(old, 'stopped');
    await observe(site, 'cmd', 'a2');
    await site.publish('cmd', 'x');
    await answer(site, 'ACK');
    expect(shown(site).sort()).toEqual(['192.0.2.1:1000 CON a1 x', '192.0.2.1:1000 CON a2 x']);
  });
});

describe('the observations of a user without a connection', () => {
  it('end where the password holds no more, and no others do', async () => {
    const passwords = { ann: 'secret', bob: 'secret' };
    const site = await run({ mode: 'connectionless', anonymous: false, passwords });
    await observe(site, 'cmd', 'a1', here, 'username=ann', 'password=secret');
    await observe(site, 'cmd', 'b2', there, 'username=bob', 'password=secret');
    site.resources.endUsers(new Set(['ann']));
    await settle(site.clock);
    expect(site.transport.sent.at(-1)).toMatchObject({ code: '4.01', token: 'a1', to: '192.0.2.1:1000' });
    await site.publish('cmd', 'x');
    expect(shown(site)).toEqual(['198.51.100.9:2000 CON b2 x']);
  });
});
