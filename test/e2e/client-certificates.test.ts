import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../support/ports.ts';
import { Daemon } from './support/daemon.ts';
import { scratch } from './support/peers.ts';
import { run } from './support/process.ts';

const place = scratch();
const file = (name: string) => join(place.path, name);
const clients: MqttClient[] = [];
const daemons: Daemon[] = [];

async function openssl(...args: string[]): Promise<void> {
  const { code, output } = await run('openssl', args);
  expect(code, output).toBe(0);
}

async function authority(name: string): Promise<void> {
  await openssl(
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...['-keyout', file(`${name}.key`), '-out', file(`${name}.pem`), '-subj', `/CN=${name}`],
  );
}

async function certificate(name: string, subject: string, by: string): Promise<void> {
  await openssl(
    ...['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
    ...['-keyout', file(`${name}.key`), '-out', file(`${name}.csr`), '-subj', subject],
  );
  await openssl(
    ...['x509', '-req', '-days', '2', '-in', file(`${name}.csr`), '-out', file(`${name}.pem`)],
    ...['-CA', file(`${by}.pem`), '-CAkey', file(`${by}.key`), '-CAcreateserial'],
  );
}

/** A daemon whose users may publish below their own name alone, over TLS and WebSocket. */
async function started(clientCert: 'optional' | 'required'): Promise<{ mqtts: string; wss: string }> {
  const ports = [await freePort(), await freePort()];
  const { path } = place;
  const daemon = new Daemon(
    join(path),
    `[mqtt]
listen = ["mqtts://127.0.0.1:${ports[0]}", "wss://127.0.0.1:${ports[1]}"]
cert_file = "${file('server.pem')}"
key_file = "${file('server.key')}"
ca_file = "${file('ca.pem')}"
client_cert = "${clientCert}"
use_identity_as_username = true
[auth]
anonymous = false
acl = [{ effect = "allow", topic = "own/%u/#" }]
`,
  );
  daemons.push(daemon);
  await daemon.start();
  return { mqtts: `mqtts://127.0.0.1:${ports[0]}`, wss: `wss://127.0.0.1:${ports[1]}` };
}

async function connect(url: string, name: string | undefined, options: IClientOptions = {}): Promise<MqttClient> {
  const client = await mqtt.connectAsync(
    url,
    {
      protocolVersion: 4,
      reconnectPeriod: 0,
      rejectUnauthorized: false,
      connectTimeout: 5_000,
      ...(name === undefined
        ? {}
        : { cert: readFileSync(file(`${name}.pem`)), key: readFileSync(file(`${name}.key`)) }),
      ...options,
    },
    false,
  );
  clients.push(client);
  return client;
}

const outcome = (connecting: Promise<MqttClient>): Promise<string> =>
  connecting.then(
    () => 'connected',
    (error: unknown) => (error instanceof Error && 'code' in error ? `${error.code}` : `${error}`),
  );

beforeAll(async () => {
  await authority('ca');
  await authority('stranger');
  await certificate('server', '/CN=localhost', 'ca');
  await certificate('ann', '/CN=ann', 'ca');
  await certificate('nameless', '/O=nobody', 'ca');
  await certificate('forged', '/CN=ann', 'stranger');
});

afterEach(async () => {
  for (const client of clients.splice(0)) await client.endAsync(true).catch(() => undefined);
  for (const daemon of daemons.splice(0)) await daemon.kill('SIGTERM');
});

afterAll(() => place.remove());

describe('a client certificate', () => {
  it('says who the client is, without a password, over TLS and WebSocket, and the rules know it', async () => {
    const urls = await started('optional');
    for (const url of [urls.mqtts, urls.wss]) {
      const client = await connect(url, 'ann');
      const granted = await client.subscribeAsync({ 'own/ann/x': { qos: 1 } });
      expect(granted.map(({ qos }) => qos)).toEqual([1]);
      const others = await client.subscribeAsync({ 'own/bob/x': { qos: 1 } }).catch(() => 'refused');
      expect(others).toBe('refused');
    }
  });

  it('counts for more than a user name and password beside it', async () => {
    const { mqtts } = await started('optional');
    const client = await connect(mqtts, 'ann', { username: 'bob', password: 'guess' });
    expect((await client.subscribeAsync('own/ann/x')).map(({ qos }) => qos)).toEqual([0]);
  });

  it('of an authority that is not trusted, or without a common name, says nothing', async () => {
    const { mqtts } = await started('optional');
    // 5: not authorized, as without a certificate
    expect(await outcome(connect(mqtts, undefined))).toBe('5');
    expect(await outcome(connect(mqtts, 'forged'))).toBe('5');
    expect(await outcome(connect(mqtts, 'nameless'))).toBe('5');
  });

  it('that is required and missing, or not trusted, ends the handshake', async () => {
    const { mqtts } = await started('required');
    expect(await outcome(connect(mqtts, 'ann'))).toBe('connected');
    for (const name of [undefined, 'forged'])
      expect(await outcome(connect(mqtts, name))).not.toMatch(/^(connected|\d)/);
  });
});
