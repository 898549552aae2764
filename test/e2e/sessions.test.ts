import mqtt, { type IClientOptions } from 'mqtt';
import { afterAll, describe, expect, it } from 'vitest';
import { Daemon } from './support/daemon.ts';
import { coapClient, freePort, publish, scratch } from './support/peers.ts';
import { run } from './support/process.ts';

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
