import mqtt, { type IClientOptions } from 'mqtt';
import { afterAll, describe, expect, it } from 'vitest';
import { freePort } from '../support/ports.ts';
import { Daemon } from './support/daemon.ts';
import { coapClient, publish, scratch } from './support/peers.ts';
import { Running, run } from './support/process.ts';

const place = scratch();
let daemon: Daemon | undefined;

afterAll(async () => {
  await daemon?.kill();
  place.remove();
});

describe('an MQTT session that is away', () => {
  it('gets what was acknowledged meanwhile, in order, also over a kill -9', { timeout: 60_000 }, async () => {
    const [coap, port] = [await freePort(), await freePort()];
    daemon = new Daemon(
      place.path,
      `[coap]\nlisten = ["coap://127.0.0.1:${coap}"]\n[mqtt]\nlisten = ["mqtt://127.0.0.1:${port}"]\n`,
    );
    await daemon.start();
    const options: IClientOptions = { clientId: 'away', clean: false, protocolVersion: 4, reconnectPeriod: 0 };
    const before = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, options);
    await before.subscribeAsync('late/+', { qos: 1 });
    await before.endAsync();
    for (let n = 0; n < 5; n++) {
      expect((await publish(port, 'late/mqtt', `m${n}`, ['-q', '1'])).code).toBe(0);
      const { output } = await run(coapClient, [
        '-m',
        'post',
        '-v',
        '6',
        '-e',
        `c${n}`,
        '-B',
        '10',
        `coap://127.0.0.1:${coap}/ps/late/coap`,
      ]);
      expect(output).toMatch(/2\.04/);
    }
    await daemon.kill('SIGKILL');
    await daemon.start();
    const after = mqtt.connect(`mqtt://127.0.0.1:${port}`, options);
    const got = await new Promise<string[]>((resolve, reject) => {
      const list: string[] = [];
      after.on('message', (_topic, payload) => {
        list.push(`${payload}`);
        if (list.length === 10) resolve(list);
      });
      after.on('error', reject);
      after.on('connect', ({ sessionPresent }) => sessionPresent || reject(new Error('the session is gone')));
    });
    expect(got).toEqual([0, 1, 2, 3, 4].flatMap((n) => [`m${n}`, `c${n}`]));
    await after.endAsync(true);
  });
});

describe('a CoAP client that is connected', () => {
  it('gets what it had not acknowledged after a kill -9, under its token', { timeout: 60_000 }, async () => {
    const [coap, port] = [await freePort(), await freePort()];
    const site = scratch();
    const gateway = new Daemon(
      site.path,
      `[coap]\nlisten = ["coap://127.0.0.1:${coap}"]\nmode = "connection"\n[mqtt]\nlisten = ["mqtt://127.0.0.1:${port}"]\n`,
    );
    const at = `coap://127.0.0.1:${coap}`;
    let observer: Running | undefined;
    try {
      await gateway.start();
      const login = await run(coapClient, ['-m', 'post', '-e', '', '-B', '10', `${at}/mqtt/connection?clientid=valve`]);
      const who = `clientid=valve&token=${login.output.trim()}`;
      const observe = ['-m', 'get', '-s', '60', '-v', '6', '-T', 'valve', `${at}/ps/valve/+?${who}&qos=1`];
      observer = new Running('stdbuf', ['-oL', '-eL', coapClient, ...observe]);
      await observer.outputs(/2\.05/);
      await publish(port, 'valve/set', 'command 0', ['-q', '1']);
      await observer.outputs(/command 0/);
      observer.child.kill('SIGSTOP');
      for (const n of [1, 2, 3]) expect((await publish(port, 'valve/set', `command ${n}`, ['-q', '1'])).code).toBe(0);
      await gateway.kill('SIGKILL');
      observer.child.kill('SIGCONT');
      await gateway.start();
      await publish(port, 'valve/set', 'command 4', ['-q', '1']);
      await observer.outputs(/command 4/);
      const first = [1, 2, 3, 4].map((n) => observer?.output.indexOf(`command ${n}`) ?? -1);
      expect(first).toEqual(first.filter((place) => place > 0).sort((a, b) => a - b));
      const beat = await run(coapClient, [
        '-m',
        'put',
        '-v',
        '6',
        '-e',
        '',
        '-B',
        '10',
        `${at}/mqtt/connection?${who}`,
      ]);
      expect(beat.output).toMatch(/2\.01/);
    } finally {
      await observer?.kill();
      await gateway.kill();
      site.remove();
    }
  });
});
