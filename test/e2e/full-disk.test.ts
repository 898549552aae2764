import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import mqtt, { type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../support/ports.ts';
import { Daemon, eventually } from './support/daemon.ts';
import { Mosquitto, scratch } from './support/peers.ts';
import { run } from './support/process.ts';

/** A state directory on a tmpfs of 96 MiB, filled while the upstream is away, freed when it is back, filled again. */

const place = scratch();
/** Of the broker, which has room. */
const outside = scratch();
let daemon: Daemon;
let upstream: Mosquitto;
let port = 0;
let mounted = false;
const received = new Set<string>();
let collector: MqttClient | undefined;

beforeAll(async () => {
  const { code, output } = await run('mount', ['-t', 'tmpfs', '-o', 'size=96m', 'tmpfs', place.path]);
  if (code !== 0) throw new Error(`a tmpfs is mounted for this test, which takes root: ${output}`);
  mounted = true;
  port = await freePort();
  const broker = await freePort();
  daemon = new Daemon(
    place.path,
    `[mqtt]\nlisten = ["mqtt://127.0.0.1:${port}"]\n[[upstream]]\nname = "cloud"\nurls = ["mqtt://127.0.0.1:${broker}"]\n` +
      'topics = [{ topic = "#", direction = "out" }]\nqueue = { max_bytes = "1GiB" }\nbackoff = { base = "50ms", cap = "200ms" }\n',
  );
  upstream = new Mosquitto(broker, outside.path, { persistent: true });
  // its session is there before anything is forwarded
  await upstream.start();
  collector = mqtt.connect(`mqtt://127.0.0.1:${broker}`, { clientId: 'collector', clean: false, reconnectPeriod: 50 });
  collector.on('error', () => undefined);
  collector.on('message', (_topic, payload) => received.add(payload.toString('latin1').split(' ')[0] ?? ''));
  await collector.subscribeAsync('fill', { qos: 1 });
  await upstream.stop('SIGTERM');
  await daemon.start();
});

afterAll(async () => {
  await collector?.endAsync(true);
  await upstream?.stop();
  await daemon?.kill('SIGTERM');
  if (mounted) await run('umount', [place.path]);
  place.remove();
  outside.remove();
});

const conditions = async () => {
  const status = (await daemon.status()) as unknown as { conditions: { code: string }[] };
  return status.conditions.map(({ code }) => code);
};

/** Publishes 8 kB at a time until one is not acknowledged; gives the names of those that were. */
async function fill(round: string): Promise<string[]> {
  const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, { protocolVersion: 4, reconnectPeriod: 0 });
  const acknowledged: string[] = [];
  let full = false;
  const closed = new Promise<void>((resolve) => {
    client.once('close', () => {
      full = true;
      resolve();
    });
  });
  client.on('error', () => undefined);
  const publisher = async (lane: number) => {
    for (let n = 0; !full; n++) {
      const name = `${round}-${lane}-${n}`;
      const payload = Buffer.concat([Buffer.from(`${name} `), randomBytes(8_000)]);
      await Promise.race([
        client.publishAsync('fill', payload, { qos: 1 }).then(() => acknowledged.push(name)),
        closed,
      ]).catch(() => undefined);
    }
  };
  await Promise.all(Array.from({ length: 8 }, (_, lane) => publisher(lane)));
  await client.endAsync(true).catch(() => undefined);
  return acknowledged;
}

/** Fills until the gateway has looked and found the disk full. */
async function fillUp(name: string): Promise<string[]> {
  const acknowledged: string[] = [];
  for (let round = 0; ; round++) {
    const taken = await fill(`${name}-${round}`);
    acknowledged.push(...taken);
    if (taken.length === 0 && (await conditions()).includes('disk_full')) return acknowledged;
    await new Promise<void>((resolve) => setTimeout(resolve, 200));
  }
}

describe('a full disk', () => {
  it('costs nothing that was acknowledged, over a kill and as often as it fills', { timeout: 300_000 }, async () => {
    const acknowledged = await fillUp('first');
    expect(acknowledged.length).toBeGreaterThan(500);
    await daemon.kill();
    await daemon.start();
    await upstream.start();
    await eventually(() => acknowledged.every((name) => received.has(name)), 'all of the first filling', 60_000);
    await eventually(async () => (await conditions()).every((one) => !one.startsWith('disk_')), 'room again', 30_000);
    await upstream.stop('SIGTERM');
    const again = await fillUp('second');
    expect(again.length).toBeGreaterThan(500);
    await upstream.start();
    const missing = () => again.filter((name) => !received.has(name));
    await eventually(() => missing().length === 0, 'all of the second filling', 60_000).catch(() => undefined);
    console.log(JSON.stringify({ first: acknowledged.length, second: again.length, lost: missing().length }));
    expect(missing()).toEqual([]);
  });

  it('that leaves the store no room to open has the start wait for some', { timeout: 60_000 }, async () => {
    await daemon.kill('SIGTERM');
    rmSync(join(daemon.stateDir, 'ballast'), { force: true });
    const filler = join(place.path, 'filler');
    const waits = (output: string) => output.includes('the start waits for the store to open');
    const begin = async () => {
      await run('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4k', 'oflag=append', 'conv=notrunc']);
      const started = daemon.startAnyhow();
      const output = await started.outputs((text) => waits(text) || text.includes('holdfast is ready'));
      if (waits(output)) return started;
      // what an earlier run has left to be deleted was room enough for one more start
      await started.kill('SIGTERM');
      return undefined;
    };
    let waiting = await begin();
    for (let more = 5; waiting === undefined && more > 0; more--) waiting = await begin();
    expect(await waiting?.kill('SIGTERM')).toBe(0);
    const again = daemon.startAnyhow();
    await again.outputs(waits);
    rmSync(filler);
    await again.outputs(/holdfast is ready/);
    await eventually(async () => (await conditions()).length === 0, 'nothing is wrong', 30_000);
  });
});
