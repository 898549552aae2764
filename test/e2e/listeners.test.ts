import { join } from 'node:path';
import mqtt, { type IClientOptions } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RawData, WebSocket } from 'ws';
import { connectOf, packetOf } from './conformance/raw.ts';
import { Daemon, eventually } from './support/daemon.ts';
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

/** A WebSocket that is open, and what comes by it. */
async function webSocket(
  protocols: string[],
): Promise<{ socket: WebSocket; got: () => string; closed: Promise<void> }> {
  const socket = new WebSocket(`ws://127.0.0.1:${await daemon.port('ws')}`, protocols);
  let bytes = Buffer.alloc(0);
  socket.on('message', (data: RawData, isBinary) => {
    expect(isBinary).toBe(true);
    bytes = Buffer.concat([bytes, data as Buffer]);
  });
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  await new Promise<void>((resolve) => socket.once('open', () => resolve()));
  return { socket, got: () => bytes.toString('hex'), closed };
}

describe('MQTT over WebSocket', () => {
  it('MQTT-6.0.0-4 has the subprotocol mqtt', async () => {
    const { socket } = await webSocket(['other', 'mqtt']);
    expect(socket.protocol).toBe('mqtt');
    socket.terminate();
  });

  it('MQTT-6.0.0-1 comes in binary frames; a text frame ends the connection, whatever it says', async () => {
    const { socket, got, closed } = await webSocket(['mqtt']);
    socket.send(connectOf());
    await eventually(() => got() === '20020000', 'CONNACK');
    socket.send('\u0020\u0000');
    await closed;
    const early = await webSocket(['mqtt']);
    // a CONNECT with clean session 1 and the client id w is UTF-8
    early.socket.send(`${connectOf({ clientId: 'w' })}`);
    await early.closed;
    expect(early.got()).toBe('');
  });

  it('MQTT-6.0.0-2 is a stream of bytes: packets may be cut, or together, in frames', async () => {
    const { socket, got } = await webSocket(['mqtt']);
    const bytes = Buffer.concat([connectOf(), packetOf(0x82, 0, 1, 'frames', 0), packetOf(0x32, 'frames', 0, 2)]);
    for (const byte of bytes) socket.send(Buffer.from([byte]));
    await eventually(() => got().includes('40020002'), 'PUBACK');
    socket.send(Buffer.concat([packetOf(0x32, 'frames', 0, 3), packetOf(0x32, 'frames', 0, 4), Buffer.from([0xc0])]));
    socket.send(Buffer.from([0]));
    await eventually(() => ['40020003', '40020004', 'd000'].every((one) => got().includes(one)), 'all answers');
    socket.terminate();
  });
});
