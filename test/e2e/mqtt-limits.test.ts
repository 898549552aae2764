import { createConnection } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { freePort } from '../support/ports.ts';
import { bytesOf, connectOf, Raw, unique } from './conformance/raw.ts';
import { Daemon, eventually } from './support/daemon.ts';
import { scratch } from './support/peers.ts';

const MiB = 1_048_576;
const open: { remove: () => void; daemon: Daemon }[] = [];
const raws: Raw[] = [];

afterEach(async () => {
  for (const raw of raws.splice(0)) raw.vanish();
  for (const { remove, daemon } of open.splice(0)) {
    await daemon.kill('SIGTERM');
    remove();
  }
});

async function started(limits: string): Promise<{ daemon: Daemon; port: number; rest: number }> {
  const { path, remove } = scratch();
  const [port, rest] = [await freePort(), await freePort()];
  const daemon = new Daemon(
    path,
    `[mqtt]\nlisten = ["mqtt://127.0.0.1:${port}"]\n[rest]\nlisten = "http://127.0.0.1:${rest}"\n[limits]\n${limits}`,
  );
  open.push({ remove, daemon });
  await daemon.start();
  return { daemon, port, rest };
}

function dial(port: number): Raw {
  const raw = new Raw(port);
  raws.push(raw);
  return raw;
}

async function client(port: number, options = {}): Promise<Raw> {
  const raw = dial(port);
  await raw.connect(options);
  return raw;
}

async function metric(rest: number, name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${rest}/metrics`)).text();
  const line = new RegExp(`^${name} (\\d+)`, 'm').exec(text);
  return Number(line?.[1] ?? -1);
}

describe('connections above the rate', () => {
  it('are closed at once and counted, and others are taken a moment later', async () => {
    const { port, rest } = await started('mqtt_connect_rate = 20\n');
    const all = await Promise.all(
      Array.from({ length: 100 }, async () => {
        const raw = dial(port);
        const taken = await raw.connect().then(
          () => true,
          () => false,
        );
        return taken;
      }),
    );
    const taken = all.filter(Boolean).length;
    expect(taken).toBeGreaterThanOrEqual(20);
    expect(taken).toBeLessThan(60);
    expect(await metric(rest, 'holdfast_mqtt_connections_refused_total')).toBe(100 - taken);
    await eventually(
      () =>
        client(port).then(
          () => true,
          () => false,
        ),
      'a connection is taken again',
    );
  });

  it('that never send a CONNECT do not keep others out, ten thousand of them', { timeout: 60_000 }, async () => {
    const { daemon, port } = await started('');
    const first = await client(port);
    const before = daemon.memory;
    const sockets = Array.from({ length: 10_000 }, () => {
      const socket = createConnection(port, '127.0.0.1');
      socket.on('error', () => undefined);
      return socket;
    });
    await Promise.all(
      sockets.map(
        (socket) =>
          new Promise<void>((resolve) => {
            socket.once('connect', () => resolve());
            socket.once('close', () => resolve());
          }),
      ),
    );
    await first.ping();
    expect(daemon.memory - before).toBeLessThan(80 * MiB);
    for (const socket of sockets) socket.destroy();
    await eventually(
      () =>
        client(port).then(
          () => true,
          () => false,
        ),
      'a connection is taken again',
    );
  });
});

describe('a packet of 256 MB', () => {
  it('that is announced after login ends the connection, and takes no memory, though it comes', async () => {
    const { daemon, port } = await started('');
    const before = daemon.memory;
    for (let n = 0; n < 5; n++) {
      const raw = await client(port);
      raw.raw(bytesOf(0x30, 0xff, 0xff, 0xff, 0x7f, 'a'));
      for (let sent = 0; sent < 64 && !raw.ended; sent++) raw.raw(Buffer.alloc(65_536));
      await raw.closed();
    }
    expect(daemon.memory - before).toBeLessThan(24 * MiB);
  });
});

describe('a client that sends a byte at a time', () => {
  it('has as long for its CONNECT as any other, and keeps nobody waiting', { timeout: 30_000 }, async () => {
    const { port } = await started('');
    const slow = dial(port);
    const begun = performance.now();
    const bytes = [...connectOf()];
    const timer = setInterval(() => slow.raw(bytes.shift() ?? 0), 1_000);
    const other = await client(port);
    await other.ping();
    await slow.closed(15_000).finally(() => clearInterval(timer));
    expect(performance.now() - begun).toBeGreaterThan(9_000);
    expect(performance.now() - begun).toBeLessThan(12_000);
  });
});

describe('a subscriber', () => {
  it('has no more than the window unacknowledged, and the rest as it acknowledges', async () => {
    const { port } = await started('mqtt_inflight = 5\n');
    const topic = unique('window/');
    const sender = await client(port);
    for (const clean of [true, false]) {
      const raw = await client(port, { clean, clientId: unique('w') });
      await raw.subscribe(topic, 2);
      for (let n = 0; n < 30; n++) await sender.publish(topic, `${n}`, { qos: n % 2 === 0 ? 1 : 2 });
      await raw.ping();
      expect(raw.got.map(({ cmd }) => cmd)).toEqual(Array.from({ length: 5 }, () => 'publish'));
      const got = await raw.messages(30);
      // MQTT-4.6.0-6 has an order for each QoS
      for (const qos of [1, 2]) {
        const serials = got.filter((one) => one.qos === qos).map(({ payload }) => Number(`${payload}`));
        expect(serials).toEqual(Array.from({ length: 15 }, (_, n) => 2 * n + qos - 1));
      }
      expect(new Set(got.map(({ dup }) => dup))).toEqual(new Set([false]));
      await raw.disconnect();
    }
  });

  it('that comes back has the window of what waited, those under way again first', async () => {
    const { port } = await started('mqtt_inflight = 5\n');
    const topic = unique('window/');
    const clientId = unique('w');
    const sender = await client(port);
    const first = await client(port, { clean: false, clientId });
    await first.subscribe(topic, 1);
    for (let n = 0; n < 12; n++) await sender.publish(topic, `${n}`, { qos: 1 });
    await first.messages(5, false);
    first.vanish();
    const second = await client(port, { clean: false, clientId });
    await second.messages(5, false);
    await second.ping();
    expect(second.got).toEqual([]);
    second.vanish();
    const third = await client(port, { clean: false, clientId });
    const got = await third.messages(12);
    expect(got.map(({ payload, dup }) => `${payload}${dup ? '+' : ''}`)).toEqual([
      '0+',
      '1+',
      '2+',
      '3+',
      '4+',
      '5',
      '6',
      '7',
      '8',
      '9',
      '10',
      '11',
    ]);
  });

  it('without a session that acknowledges nothing loses what is above its bound, counted', async () => {
    const { port, rest } = await started('mqtt_inflight = 5\nmqtt_queued = 10\n');
    const topic = unique('bound/');
    const raw = await client(port);
    await raw.subscribe(topic, 1);
    const sender = await client(port);
    for (let n = 0; n < 40; n++) await sender.publish(topic, `${n}`, { qos: 1 });
    expect(await metric(rest, 'holdfast_mqtt_publishes_dropped_total')).toBe(25);
    expect((await raw.messages(15)).map(({ payload }) => Number(`${payload}`))).toEqual(
      Array.from({ length: 15 }, (_, n) => n),
    );
    await sender.publish(topic, 'again', { qos: 1 });
    expect(`${(await raw.messages(1))[0]?.payload}`).toBe('again');
  });

  it('that stops reading takes bounded memory and slows nobody else down, whatever its QoS and session', {
    timeout: 60_000,
  }, async () => {
    const { daemon, port } = await started('');
    const topic = unique('frozen/');
    const healthy = await client(port);
    await healthy.subscribe(`${topic}/1`, 1);
    const sender = await client(port);
    const payload = Buffer.alloc(32_768);
    const rounds = async (count: number) => {
      const times: number[] = [];
      for (let n = 0; n < count; n++) {
        const begun = performance.now();
        await sender.publish(`${topic}/1`, payload, { qos: n % 4 === 0 ? 1 : 0 });
        await healthy.messages(1);
        healthy.bytes = Buffer.alloc(0);
        times.push(performance.now() - begun);
      }
      return times.sort((a, b) => a - b);
    };
    const alone = await rounds(100);
    for (const clean of [true, false]) {
      for (const qos of [0, 1, 2] as const) {
        const frozen = await client(port, { clean, clientId: unique('z') });
        await frozen.subscribe(`${topic}/#`, qos);
        frozen.socket.pause();
      }
    }
    const before = daemon.memory;
    const together = await rounds(800);
    // 25 MB were for each of those that are frozen
    expect(together[799]).toBeLessThan(2_000);
    expect(together[400]).toBeLessThan(5 * (alone[50] ?? 0) + 20);
    expect(daemon.memory - before).toBeLessThan(64 * MiB);
  });
});
