import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Daemon, eventually } from './support/daemon.ts';
import { coapClient, publish, scratch, subscriber } from './support/peers.ts';
import { Running, run } from './support/process.ts';

/** The API document's own commands, as they stand there, against our address. */

const place = { connectionless: scratch(), connection: scratch() };
const daemons = {
  connectionless: new Daemon(place.connectionless.path),
  connection: new Daemon(
    place.connection.path,
    '[coap]\nlisten = ["coap://127.0.0.1:0", "coap://[::1]:0"]\nmode = "connection"\n',
  ),
};
let port = 0;
let connectionPort = 0;
const observers: Running[] = [];

beforeAll(async () => {
  await Promise.all(Object.values(daemons).map((daemon) => daemon.start()));
  port = await daemons.connectionless.port('coap');
  connectionPort = await daemons.connection.port('coap');
});

afterAll(async () => {
  for (const observer of observers) await observer.kill();
  for (const daemon of Object.values(daemons)) await daemon.kill('SIGTERM');
  for (const { remove } of Object.values(place)) remove();
});

/** What `coap-client` prints for a request: payload, or code and text of an error. */
async function coap(to: number, args: readonly string[], path: string): Promise<string> {
  const { output } = await run(coapClient, [...args, '-B', '10', `coap://127.0.0.1:${to}/${path}`]);
  return output.trim();
}

/** `coap-client` that observes for a minute, its output unbuffered in a file of the test's. */
async function observe(to: number, path: string, query = ''): Promise<Running> {
  const args = [
    '-m',
    'get',
    '-s',
    '60',
    '-O',
    '6,0x00',
    '-v',
    '6',
    '-T',
    'obstoken',
    `coap://127.0.0.1:${to}/${path}${query}`,
  ];
  const running = new Running('stdbuf', ['-oL', '-eL', coapClient, ...args]);
  observers.push(running);
  await running.outputs(/2\.05|4\.\d\d|5\.\d\d/);
  return running;
}

async function connect(clientid: string): Promise<string> {
  return coap(
    connectionPort,
    ['-m', 'post', '-e', ''],
    `mqtt/connection?clientid=${clientid}&username=admin&password=public`,
  );
}

describe('connection mode', () => {
  it('gives a token for the document’s POST, and 2.01 without a payload for its PUT and DELETE', async () => {
    const token = await connect('123');
    expect(token).toMatch(/^[A-Za-z0-9_-]{22}$/);
    const verbose = ['-v', '6', '-e', ''];
    expect(
      await coap(connectionPort, ['-m', 'put', ...verbose], `mqtt/connection?clientid=123&token=${token}`),
    ).toMatch(/2\.01/);
    expect(
      await coap(connectionPort, ['-m', 'delete', ...verbose], `mqtt/connection?clientid=123&token=${token}`),
    ).toMatch(/2\.01/);
    expect(await coap(connectionPort, ['-m', 'put', '-e', ''], `mqtt/connection?clientid=123&token=${token}`)).toBe(
      '4.01 Invalid token or clientid in connection mode',
    );
  });

  it('answers each error row with its code and text', async () => {
    const token = await connect('err');
    expect(await coap(connectionPort, ['-m', 'post', '-e', ''], 'mqtt/connection')).toBe(
      '4.00 Login Failed: clientid is required',
    );
    const missing = '4.00 Missing token or clientid in connection mode';
    const invalid = '4.01 Invalid token or clientid in connection mode';
    for (const method of ['put', 'delete']) {
      expect(await coap(connectionPort, ['-m', method, '-e', ''], 'mqtt/connection?clientid=err')).toBe(missing);
      expect(await coap(connectionPort, ['-m', method, '-e', ''], `mqtt/connection?token=${token}`)).toBe(missing);
      expect(
        await coap(connectionPort, ['-m', method, '-e', ''], 'mqtt/connection?clientid=err&token=3404490787'),
      ).toBe(invalid);
    }
    expect(await coap(connectionPort, ['-m', 'post', '-e', 'x'], 'ps/a')).toBe(missing);
    expect(await coap(connectionPort, ['-m', 'post', '-e', 'x'], 'ps/a?clientid=nobody&token=1')).toBe(invalid);
    const who = `clientid=err&token=${token}`;
    expect(await coap(connectionPort, ['-m', 'post', '-e', 'x'], `ps/a?${who}&qos=5`)).toMatch(/^4\.00 invalid qos/);
    expect(await coap(connectionPort, ['-m', 'post', '-e', 'x'], `ps/a?${who}&retain=maybe`)).toMatch(
      /^4\.00 invalid retain/,
    );
    expect(await coap(connectionPort, ['-m', 'post', '-e', 'x'], `ps/a?${who}&expiry=-1`)).toMatch(
      /^4\.00 invalid expiry/,
    );
    expect(await coap(connectionPort, ['-m', 'post', '-e', 'x'], `ps/a/%2b?${who}`)).toBe('4.00 invalid topic');
    expect(await coap(connectionPort, ['-m', 'post', '-e', 'x'], `ps?${who}`)).toBe('4.00 invalid topic');
    expect(await coap(connectionPort, ['-m', 'put', '-e', 'x'], `ps/a?${who}`)).toBe('4.05');
    expect(await coap(connectionPort, ['-m', 'get'], 'nowhere')).toBe('4.04');
    // and after all of that the session is alive
    expect(await coap(connectionPort, ['-m', 'put', '-v', '6', '-e', ''], `mqtt/connection?${who}`)).toMatch(/2\.01/);
  });

  it('publishes, subscribes and unsubscribes with the document’s commands', async () => {
    const token = await connect('123');
    const who = `?clientid=123&token=${token}`;
    const observer = await observe(connectionPort, 'ps/coap/test', who);
    expect(
      await coap(connectionPort, ['-m', 'post', '-v', '6', '-e', 'Hi, this is libcoap'], `ps/coap/test${who}`),
    ).toMatch(/2\.04/);
    await observer.outputs(/Hi, this is libcoap/);
    expect(await coap(connectionPort, ['-m', 'get', '-v', '6', '-O', '6,0x01'], `ps/coap/test${who}`)).toMatch(/2\.07/);
    const before = observer.output;
    await coap(connectionPort, ['-m', 'post', '-e', 'after the end'], `ps/coap/test${who}`);
    await coap(connectionPort, ['-m', 'put', '-e', ''], `mqtt/connection${who}`);
    expect(observer.output.slice(before.length)).not.toContain('after the end');
  });

  it('takes the short parameter names', async () => {
    const token = await coap(connectionPort, ['-m', 'post', '-e', ''], 'mqtt/connection?c=short&u=admin&p=public');
    expect(await coap(connectionPort, ['-m', 'post', '-v', '6', '-e', 'x'], `ps/s?c=short&t=${token}&q=1&r=1`)).toMatch(
      /2\.04/,
    );
    expect(await coap(connectionPort, ['-m', 'get'], `ps/s?c=short&t=${token}`)).toBe('x');
  });

  it('works over IPv6', async () => {
    const urls = (await daemons.connection.status()).listeners;
    const v6 = urls.find((url) => url.startsWith('coap://[')) ?? '';
    const { output } = await run(coapClient, [
      '-m',
      'post',
      '-e',
      '',
      '-B',
      '10',
      `${v6}/mqtt/connection?clientid=six`,
    ]);
    expect(output.trim()).toMatch(/^[A-Za-z0-9_-]{22}$/);
  });
});

describe('connectionless mode', () => {
  it('publishes and subscribes with the document’s commands', async () => {
    const observer = await observe(port, 'ps/coap/test');
    expect(await coap(port, ['-m', 'post', '-v', '6', '-e', 'Hi, this is libcoap'], 'ps/coap/test')).toMatch(/2\.04/);
    await observer.outputs(/Hi, this is libcoap/);
  });

  it('reads the retained message, and 4.04 where there is none', async () => {
    expect(await coap(port, ['-m', 'get'], 'ps/kept/1')).toBe('4.04');
    await coap(port, ['-m', 'post', '-e', '21.5'], 'ps/kept/1?retain=true');
    expect(await coap(port, ['-m', 'get'], 'ps/kept/1')).toBe('21.5');
    const observer = await observe(port, 'ps/kept/%2b');
    await observer.outputs(/21\.5/);
  });

  it('lists its resources, and filters them', async () => {
    expect(await coap(port, ['-m', 'get'], '.well-known/core')).toBe(
      '</mqtt/connection>;rt="mqtt.connection",</ps>;rt="core.ps";ct=40',
    );
    expect(await coap(port, ['-m', 'get'], '.well-known/core?rt=core.ps')).toBe('</ps>;rt="core.ps";ct=40');
    expect(await coap(port, ['-m', 'get'], '.well-known/core?href=/mqtt*')).toBe(
      '</mqtt/connection>;rt="mqtt.connection"',
    );
  });

  it('takes an upload in blocks of 64 bytes up to the limit, and gives it back in blocks', async () => {
    const file = join(place.connectionless.path, 'big');
    const text = Array.from({ length: 6_000 }, (_, n) => `${n}`.padStart(9, '.')).join(' ');
    writeFileSync(file, text.slice(0, 60_000));
    expect(await coap(port, ['-m', 'post', '-b', '64', '-v', '6', '-f', file], 'ps/big?retain=1')).toMatch(/2\.04/);
    expect(await coap(port, ['-m', 'get', '-b', '64'], 'ps/big')).toBe(text.slice(0, 60_000).trim());
    writeFileSync(file, 'x'.repeat(70_000));
    expect(await coap(port, ['-m', 'post', '-b', '1024', '-f', file], 'ps/big')).toMatch(/^4\.13/);
  });
});

describe('across protocols', () => {
  it('carries CoAP to MQTT and MQTT to CoAP, retained ones too', async () => {
    const mqtt = await daemons.connectionless.port('mqtt');
    const watcher = await subscriber(mqtt, 'cross/#');
    observers.push(watcher);
    await coap(port, ['-m', 'post', '-e', 'from coap'], 'ps/cross/1?retain=true');
    await watcher.outputs(/cross\/1 from coap/);
    const late = await subscriber(mqtt, 'cross/+');
    observers.push(late);
    await late.outputs(/cross\/1 from coap/);
    const observer = await observe(port, 'ps/cross/2');
    for (const qos of ['0', '1', '2']) {
      expect((await publish(mqtt, 'cross/2', `from mqtt ${qos}`, ['-q', qos])).code).toBe(0);
      await observer.outputs(new RegExp(`from mqtt ${qos}`));
    }
    await eventually(
      async () => (await daemons.connectionless.status()).clients.mqtt === 2,
      'two MQTT clients are counted',
    );
  });
});
