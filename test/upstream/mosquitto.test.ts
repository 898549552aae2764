import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Socket, connect as tcpConnect } from 'node:net';
import { join } from 'node:path';
import { generate, parser } from 'mqtt-packet';
import { afterEach, describe, expect, it } from 'vitest';
import { createWebSocketStream, WebSocketServer } from 'ws';
import { HoldfastError } from '../../src/base/index.ts';
import { freePort } from '../support/ports.ts';
import { Mosquitto, until } from './support/broker.ts';
import { harness, rule } from './support/harness.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function broker(listener = '', global = '', directory?: string) {
  const started = await Mosquitto.start(listener, global, directory);
  cleanups.push(() => started.remove());
  return started;
}

async function gateway(...given: Parameters<typeof harness>) {
  const h = harness({ startFrom: 'oldest', ...given[0] }, given[1]);
  cleanups.push(() => h.upstream.stop());
  await h.upstream.start();
  return h;
}

interface Seen {
  readonly topic: string;
  readonly payload: string;
  readonly qos: number;
  readonly retain: boolean;
  readonly properties: object;
}

async function watcher(of: Mosquitto, filter = '#', options = {}) {
  const client = await of.client(options);
  cleanups.push(() => client.endAsync(true));
  const seen: Seen[] = [];
  client.on('message', (topic, payload, packet) => {
    const { qos, retain, properties } = packet;
    seen.push({ topic, payload: payload.toString(), qos, retain, properties: { ...properties } });
  });
  await client.subscribeAsync(filter, { qos: 2, rap: true });
  return { client, seen };
}

const total = (h: ReturnType<typeof harness>, name: string) =>
  h.metrics.value(`holdfast_upstream_${name}_total`, { upstream: 'cloud' }) ?? 0;

describe('an upstream at a mosquitto', () => {
  it('forwards with identity, time and expiry, under the remote prefix', async () => {
    const mosquitto = await broker();
    const { seen } = await watcher(mosquitto, 'site7/#');
    const h = await gateway({ urls: [mosquitto.url], rules: [rule({ remotePrefix: 'site7/', qos: 2 })] });
    h.log.append({ topic: 'a/1', qos: 1, expiry: 60, monotonic: performance.now() - 10_000 });
    h.log.append({ topic: 'a/2', qos: 2, retain: true });
    h.log.append({ topic: 'a/3', qos: 0 });
    await until(() => seen.length === 3);
    seen.sort((a, b) => (a.topic < b.topic ? -1 : 1));
    expect(seen.map(({ topic, qos, retain }) => [topic, qos, retain])).toEqual([
      ['site7/a/1', 1, false],
      ['site7/a/2', 2, true],
      ['site7/a/3', 0, false],
    ]);
    expect(seen[0]?.properties).toMatchObject({
      messageExpiryInterval: 50,
      userProperties: {
        'message-id': 'gate1:0000010000000001',
        'client-id': 'dev1@app',
        ts: '1700000000000',
        'ts-quality': 'synced',
      },
    });
    await until(() => h.log.cursor('cloud') === h.log.next);
    expect(total(h, 'acknowledged')).toBe(2);
  });

  it.each(['5', '3.1.1'] as const)('hears nothing of its own on a rule for both directions (%s)', async (protocol) => {
    const mosquitto = await broker();
    const { client } = await watcher(mosquitto);
    const h = await gateway({ urls: [mosquitto.url], protocol, rules: [rule({ topic: 'x/#', direction: 'both' })] });
    await until(() => h.upstream.status().state === 'connected');
    h.log.append({ topic: 'x/1', payload: Buffer.from('ours') });
    await until(() => total(h, 'acknowledged') === 1);
    await client.publishAsync('x/1', 'theirs', { qos: 1, retain: true });
    await until(() => h.sink.taken.length === 1);
    expect(h.sink.taken).toMatchObject([{ topic: 'x/1', payload: Buffer.from('theirs'), retain: true }]);
    expect(h.upstream.status().protocol).toBe(protocol);
  });

  it('sends no properties and keeps order over 3.1.1', async () => {
    const mosquitto = await broker();
    const { seen } = await watcher(mosquitto, 't/#');
    const h = await gateway({ urls: [mosquitto.url], protocol: '3.1.1' });
    h.log.appendMany(500);
    await until(() => seen.length === 500);
    expect(seen.map(({ payload }) => payload)).toEqual(Array.from({ length: 500 }, (_, at) => `p${at + 1}`));
    expect(seen[0]?.properties).toEqual({});
  });

  it('goes to the next URL of its list', async () => {
    const mosquitto = await broker();
    const h = await gateway({ urls: [`mqtt://127.0.0.1:${await freePort()}`, mosquitto.url] });
    h.log.append();
    await until(() => total(h, 'acknowledged') === 1);
    expect(h.upstream.status().url).toBe(mosquitto.url);
  });

  it('loses nothing while the broker is stopped and killed in the middle of a drain', async () => {
    const mosquitto = await broker();
    const got = new Set<string>();
    const repeats: string[] = [];
    const watch = async () => {
      const client = await mosquitto.client({ protocolVersion: 4, reconnectPeriod: 0 });
      client.on('message', (_topic, payload) => {
        const text = payload.toString();
        if (got.has(text)) repeats.push(text);
        got.add(text);
      });
      await client.subscribeAsync('t/#', { qos: 1 });
      cleanups.push(() => client.endAsync(true));
    };
    await watch();
    const count = 20_000;
    const h = harness({ urls: [mosquitto.url], startFrom: 'oldest', window: 20 });
    cleanups.push(() => h.upstream.stop());
    h.log.appendMany(count);
    await h.upstream.start();
    let breaks = 0;
    for (const signal of ['SIGTERM', 'SIGKILL', 'SIGTERM'] as const) {
      const before = total(h, 'acknowledged');
      await until(() => total(h, 'acknowledged') >= before + 1_000);
      await mosquitto.down(signal);
      // What the broker acknowledged and had not yet handed to a subscriber is its affair, not the gateway's.
      breaks += 1;
      await mosquitto.up();
      await watch();
    }
    await until(() => h.log.cursor('cloud') === h.log.next);
    expect(breaks).toBe(3);
    expect(total(h, 'acknowledged')).toBeGreaterThanOrEqual(count);
    expect(total(h, 'published') - count).toBeLessThanOrEqual(3 * 20);
    expect(repeats.length).toBeLessThanOrEqual(3 * 20);
  });

  it('acknowledges a downlink only when it is logged, and gets it again after a loss of the link', async () => {
    const mosquitto = await broker('', 'sys_interval 1');
    const { client } = await watcher(mosquitto);
    const h = harness({ urls: [mosquitto.url], rules: [rule({ topic: 'cmd/#', direction: 'in' }), rule()] });
    cleanups.push(() => h.upstream.stop());
    const take = h.sink.answer;
    let offered = 0;
    h.sink.answer = () => {
      offered += 1;
    };
    await h.upstream.start();
    await until(() => h.upstream.status().state === 'connected');
    await client.publishAsync('cmd/go', 'one', { qos: 1, properties: { messageExpiryInterval: 100 } });
    await until(() => offered === 1);
    // Uplinks are acknowledged though the downlink is not: nothing waits behind it.
    h.log.appendMany(200);
    await until(() => total(h, 'acknowledged') === 200);
    h.sink.answer = take;
    await mosquitto.down();
    await mosquitto.up();
    await until(() => h.sink.taken.length === 1);
    expect(h.sink.taken).toMatchObject([{ topic: 'cmd/go', payload: Buffer.from('one'), origin: 'upstream' }]);
    expect(h.sink.taken[0]?.expiry).toBeGreaterThan(90);
    await mosquitto.down();
    await mosquitto.up();
    await until(() => h.upstream.status().state === 'connected');
    await client.publishAsync('cmd/go', 'two', { qos: 1 });
    await until(() => h.sink.taken.length === 2);
    expect(total(h, 'downlinks')).toBe(2);
  });

  it('tries a downlink again while the log is full, and gets what was sent while it was away', async () => {
    const mosquitto = await broker();
    const { client } = await watcher(mosquitto);
    const rules = [rule({ topic: 'cmd/#', direction: 'in', qos: 2 })];
    const first = await gateway({ urls: [mosquitto.url], rules });
    const take = first.sink.answer;
    let refused = 0;
    first.sink.answer = (_message, done) => {
      refused += 1;
      done(new HoldfastError('store_full', 'full'));
    };
    await until(() => first.upstream.status().state === 'connected');
    await client.publishAsync('cmd/go', 'one', { qos: 1 });
    await until(() => refused >= 2);
    first.sink.answer = take;
    await until(() => first.sink.taken.length === 1);
    await first.upstream.stop();
    await client.publishAsync('cmd/go', 'two', { qos: 2 });
    const second = await gateway({ urls: [mosquitto.url], rules });
    await until(() => second.sink.taken.length === 1);
    expect(Buffer.from(second.sink.taken[0]?.payload ?? []).toString()).toBe('two');
  });

  it('delivers QoS 2 once each, and goes on after a cut in the middle of exchanges', async () => {
    const mosquitto = await broker('', 'max_queued_messages 0');
    const { seen } = await watcher(mosquitto, 't/#', {
      reconnectPeriod: 50,
      clean: false,
      clientId: 'watch',
      properties: { sessionExpiryInterval: 1_000 },
    });
    const h = harness({ urls: [mosquitto.url], startFrom: 'oldest', rules: [rule({ qos: 2 })], window: 8 });
    cleanups.push(() => h.upstream.stop());
    h.log.appendMany(3_000, () => ({ qos: 2 }));
    await h.upstream.start();
    await until(() => total(h, 'acknowledged') > 300);
    await mosquitto.down();
    await mosquitto.up();
    await until(() => h.log.cursor('cloud') === h.log.next);
    await until(() => new Set(seen.map(({ payload }) => payload)).size === 3_000);
    expect(seen.length - 3_000).toBeLessThanOrEqual(8);
  });

  it('shows its state in a retained message, by its will too', async () => {
    const mosquitto = await broker();
    const { seen } = await watcher(mosquitto, 'holdfast/#');
    const states = () => seen.map(({ payload }) => JSON.parse(payload).state);
    const h = await gateway({ urls: [mosquitto.url] }, { version: '1.2.3' });
    await until(() => states().length === 1);
    expect(JSON.parse(seen[0]?.payload ?? '')).toMatchObject({ state: 'online', gateway: 'gate1', version: '1.2.3' });
    // Another client under the same id takes the session over: the link is lost without a DISCONNECT.
    const thief = await mosquitto.client({ clientId: 'gw-7', reconnectPeriod: 0 });
    await until(() => states().includes('offline'));
    await thief.endAsync();
    await until(() => states().at(-1) === 'online');
    await h.upstream.stop();
    await until(() => states().at(-1) === 'offline');
    const late = await watcher(mosquitto, 'holdfast/#');
    await until(() => late.seen.length === 1);
    expect(late.seen[0]).toMatchObject({ topic: 'holdfast/gw-7/status', retain: true });
  });

  it('logs in with a password file read at each attempt, and never shows the password', async () => {
    const first = await broker();
    const file = join(first.directory, 'users');
    execFileSync('mosquitto_passwd', ['-c', '-b', file, 'gw', 'right-secret']);
    const mosquitto = await broker('', `allow_anonymous false\npassword_file ${file}`);
    const passwordFile = join(first.directory, 'password');
    writeFileSync(passwordFile, 'wrong-secret\n');
    const lines: unknown[] = [];
    const note = (fields: object, text: string) => void lines.push(fields, text);
    const logger = { debug: note, info: note, warn: note, error: note, child: () => logger };
    const h = await gateway({ urls: [mosquitto.url], username: 'gw', passwordFile }, { logger });
    await until(() => h.upstream.status().lastError !== undefined);
    expect(h.upstream.status().lastError).toMatch(/refused/i);
    await until(() => total(h, 'reconnects') > 3);
    writeFileSync(passwordFile, 'right-secret\n');
    await until(() => h.upstream.status().state === 'connected');
    expect(lines.filter((line) => line === 'upstream not connected').length).toBe(1);
    expect(JSON.stringify(lines)).not.toMatch(/secret/);
  });

  it('proves itself by a certificate, and trusts only its own authority', async () => {
    const plain = await broker();
    const dir = plain.directory;
    const ssl = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, stdio: 'pipe' });
    writeFileSync(join(dir, 'ext'), 'subjectAltName=IP:127.0.0.1,DNS:localhost');
    for (const ca of ['ca', 'other']) {
      ssl(
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-days',
        '30',
        '-subj',
        `/CN=${ca}`,
        '-keyout',
        `${ca}.key`,
        '-out',
        `${ca}.pem`,
      );
    }
    for (const name of ['server', 'client']) {
      ssl(
        'req',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-subj',
        `/CN=${name}`,
        '-keyout',
        `${name}.key`,
        '-out',
        `${name}.csr`,
      );
      ssl(
        'x509',
        '-req',
        '-in',
        `${name}.csr`,
        '-CA',
        'ca.pem',
        '-CAkey',
        'ca.key',
        '-CAcreateserial',
        '-days',
        '30',
        '-extfile',
        'ext',
        '-out',
        `${name}.pem`,
      );
    }
    const mosquitto = await broker(
      `cafile ${dir}/ca.pem\ncertfile ${dir}/server.pem\nkeyfile ${dir}/server.key\nrequire_certificate true`,
    );
    const urls = [`mqtts://127.0.0.1:${mosquitto.port}`];
    const files = { certFile: join(dir, 'client.pem'), keyFile: join(dir, 'client.key') };
    const stranger = await gateway({ urls, ...files, caFile: join(dir, 'other.pem'), clientId: 'stranger' });
    await until(() => stranger.upstream.status().lastError !== undefined);
    expect(stranger.upstream.status().lastError).toMatch(/certificate|signature|verify/i);
    const nobody = await gateway({ urls, caFile: join(dir, 'ca.pem'), clientId: 'nobody' });
    await until(() => nobody.upstream.status().lastError !== undefined);
    writeFileSync(join(dir, 'broken.pem'), readFileSync(join(dir, 'client.pem')).subarray(0, 100));
    const broken = await gateway({ urls, ...files, certFile: join(dir, 'broken.pem'), clientId: 'broken' });
    await until(() => total(broken, 'reconnects') > 1);
    const h = await gateway({ urls, ...files, caFile: join(dir, 'ca.pem') });
    h.log.append();
    await until(() => total(h, 'acknowledged') === 1);
  });

  it('works over a WebSocket', async () => {
    const mosquitto = await broker();
    // Mosquitto's own WebSocket listener does not bind to an address everywhere: a relay stands before it.
    const relay = new WebSocketServer({ host: '127.0.0.1', port: 0, handleProtocols: () => 'mqtt' });
    relay.on('connection', (socket) => {
      const stream = createWebSocketStream(socket);
      const broker = tcpConnect(mosquitto.port, '127.0.0.1');
      for (const one of [stream, broker]) one.on('error', () => undefined);
      stream.pipe(broker).pipe(stream);
    });
    await new Promise((resolve) => relay.once('listening', resolve));
    cleanups.push(async () => relay.close());
    const address = relay.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    const h = await gateway({ urls: [`ws://127.0.0.1:${port}/mqtt`] });
    h.log.appendMany(100);
    await until(() => total(h, 'acknowledged') === 100);
  });
});

/** A broker of a few lines that answers CONNECT as told and acknowledges nothing unless told. */
async function rawBroker(answer: (packet: { cmd: string; protocolVersion?: number }, socket: Socket) => void) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    let read = parser({ protocolVersion: 4 });
    socket.on('data', (chunk) => {
      if ((chunk[0] ?? 0) === 0x10) read = parser({ protocolVersion: chunk[8] === 5 ? 5 : 4 });
      read.removeAllListeners();
      read.on('packet', (packet) => answer(packet as never, socket));
      read.parse(chunk);
    });
  });
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  cleanups.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `mqtt://127.0.0.1:${port}`;
}

describe('an upstream at a difficult broker', () => {
  it.each(['rc 1', 'close'])('falls back to 3.1.1 when MQTT 5 and the bridge bit are refused by %s', async (how) => {
    const tried: unknown[] = [];
    const url = await rawBroker((packet, socket) => {
      if (packet.cmd === 'connect') {
        const { protocolVersion, bridgeMode } = packet as { protocolVersion?: number; bridgeMode?: boolean };
        tried.push([protocolVersion, bridgeMode === true]);
        if (protocolVersion === 4 && bridgeMode !== true) {
          socket.write(generate({ cmd: 'connack', returnCode: 0, sessionPresent: false }));
        } else if (how === 'close') socket.destroy();
        else socket.end(Buffer.of(0x20, 2, 0, 1));
      }
    });
    const h = await gateway({ urls: [url] });
    await until(() => h.upstream.status().state === 'connected');
    expect(tried).toEqual([
      [5, false],
      [4, true],
      [4, false],
    ]);
  });

  it('reconnects where an acknowledgement stays away', async () => {
    let connections = 0;
    const url = await rawBroker((packet, socket) => {
      if (packet.cmd !== 'connect') return;
      connections += 1;
      socket.write(
        generate(
          { cmd: 'connack', reasonCode: 0, sessionPresent: false, properties: {} } as never,
          {
            protocolVersion: 5,
          } as never,
        ),
      );
    });
    const h = await gateway({ urls: [url], ackTimeout: 200, protocol: '5' });
    h.log.append();
    await until(() => connections >= 2);
    await until(() => h.upstream.status().lastError !== undefined || connections > 2);
    expect(h.log.cursor('cloud')).toBe(h.log.head);
  });

  it('notices a peer that has gone silent by its keepalive', async () => {
    let connections = 0;
    const url = await rawBroker((packet, socket) => {
      if (packet.cmd !== 'connect') return;
      connections += 1;
      socket.write(generate({ cmd: 'connack', returnCode: 0, sessionPresent: false }));
    });
    const h = await gateway({ urls: [url], keepalive: 1_000, protocol: '3.1.1' });
    await until(() => h.upstream.status().lastError === 'Keepalive timeout' || connections > 1);
    expect(h.upstream.status().inFlight).toBe(0);
  });

  it.each([1, 2] as const)('takes what comes on the heels of the CONNACK of a session, QoS %i', async (qos) => {
    const acknowledged: number[] = [];
    const released: number[] = [];
    const publish = (messageId: number) =>
      generate({ cmd: 'publish', topic: 'cmd/go', payload: 'now', qos: 1, messageId, dup: true, retain: false });
    const url = await rawBroker((packet, socket) => {
      const { messageId = 0 } = packet as { messageId?: number };
      if (packet.cmd === 'connect') {
        const connack = generate({ cmd: 'connack', returnCode: 0, sessionPresent: true });
        socket.write(Buffer.concat([connack, publish(1), publish(2)]));
      }
      if (packet.cmd === 'puback') acknowledged.push(messageId);
      if (packet.cmd !== 'pubrel') return;
      // in the midst of the identifiers that are released
      if (released.push(messageId) === 2) socket.write(publish(3));
      socket.write(generate({ cmd: 'pubcomp', messageId }));
    });
    const rules = [rule({ topic: 'cmd/#', direction: 'in' }), rule({ qos })];
    const h = await gateway({ urls: [url], protocol: '3.1.1', rules });
    await until(() => h.upstream.status().state === 'connected');
    const expected = qos === 2 ? [1, 2, 3] : [1, 2];
    await until(() => acknowledged.length >= expected.length);
    expect(acknowledged).toEqual(expected);
    expect(h.sink.taken.length).toBe(expected.length);
  });

  it('survives garbage instead of packets', async () => {
    let connections = 0;
    const url = await rawBroker((packet, socket) => {
      if (packet.cmd !== 'connect') return;
      connections += 1;
      socket.write(Buffer.from('ff00ff00ff', 'hex'));
    });
    const h = await gateway({ urls: [url] });
    await until(() => connections >= 6);
    expect(h.upstream.status().state).not.toBe('connected');
  });
});
