import { join } from 'node:path';
import mqtt, { type IClientOptions } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Daemon } from './support/daemon.ts';
import { scratch } from './support/peers.ts';
import { run } from './support/process.ts';

const place = scratch();
const certificate = join(place.path, 'cert.pem');
const key = join(place.path, 'key.pem');
const daemon = new Daemon(
  place.path,
  `[mqtt]\nlisten = ["mqtt://127.0.0.1:0", "mqtt://[::1]:0", "ws://127.0.0.1:0", "mqtts://127.0.0.1:0", "wss://127.0.0.1:0"]\n` +
    `cert_file = "${certificate}"\nkey_file = "${key}"\n`,
);

beforeAll(async () => {
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const made = await run('openssl', [
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-days',
    '2',
    '-keyout',
    key,
    '-out',
    certificate,
    ...subject,
  ]);
  expect(made.code, made.output).toBe(0);
  await daemon.start();
});

afterAll(async () => {
  await daemon.kill('SIGTERM');
  place.remove();
});

describe('the MQTT listeners', () => {
  it('carry one broker: what comes in by each is seen by all, over TCP, WebSocket, TLS and IPv6', async () => {
    const { listeners } = await daemon.status();
    const urls = listeners.filter((url) => !url.startsWith('coap'));
    expect(urls.map((url) => url.replace(/\d+$/, ''))).toEqual([
      'mqtt://127.0.0.1:',
      'mqtt://[::1]:',
      'ws://127.0.0.1:',
      'mqtts://127.0.0.1:',
      'wss://127.0.0.1:',
    ]);
    const options: IClientOptions = { protocolVersion: 4, reconnectPeriod: 0, rejectUnauthorized: false };
    const clients = await Promise.all(urls.map((url) => mqtt.connectAsync(url, options)));
    const received = clients.map(
      (client) =>
        new Promise<string[]>((resolve) => {
          const got: string[] = [];
          client.on('message', (_topic, payload) => {
            got.push(`${payload}`);
            if (got.length === clients.length) resolve(got.sort());
          });
        }),
    );
    await Promise.all(clients.map((client) => client.subscribeAsync('all/#', { qos: 1 })));
    await Promise.all(clients.map((client, at) => client.publishAsync(`all/${at}`, `from ${at}`, { qos: 1 })));
    const expected = clients.map((_, at) => `from ${at}`);
    for (const got of await Promise.all(received)) expect(got).toEqual(expected);
    await Promise.all(clients.map((client) => client.endAsync(true)));
  });
});
