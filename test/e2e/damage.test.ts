import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import mqtt, { type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LevelStore } from '../../src/log/index.ts';
import { freePort } from '../support/ports.ts';
import { Daemon, eventually, holdfast } from './support/daemon.ts';
import { Mosquitto, scratch } from './support/peers.ts';
import { run } from './support/process.ts';

/** Damage to the files of a gateway that is stopped: it starts, serves, and says what it lost. */

const place = scratch();
let daemon: Daemon;
let upstream: Mosquitto;
let collector: MqttClient | undefined;
let port = 0;
let brokerPort = 0;
/** What was acknowledged, by name. */
const sent = new Map<string, string>();
const received = new Map<string, string>();

beforeAll(async () => {
  port = await freePort();
  brokerPort = await freePort();
  upstream = new Mosquitto(brokerPort, place.path, { persistent: true });
  // its session is there before anything is forwarded
  await upstream.start();
  const url = `mqtt://127.0.0.1:${brokerPort}`;
  collector = mqtt.connect(url, { clientId: 'collector', clean: false, reconnectPeriod: 50 });
  collector.on('error', () => undefined);
  collector.on('message', (_topic, payload) => received.set(`${payload}`.split(' ')[0] ?? '', `${payload}`));
  await collector.subscribeAsync('fill', { qos: 1 });
  await upstream.stop('SIGTERM');
  daemon = new Daemon(
    place.path,
    `[mqtt]\nlisten = ["mqtt://127.0.0.1:${port}"]\n[[upstream]]\nname = "cloud"\nurls = ["mqtt://127.0.0.1:${brokerPort}"]\n` +
      'topics = [{ topic = "#", direction = "out" }]\nbackoff = { base = "50ms", cap = "200ms" }\n',
  );
});

afterAll(async () => {
  await collector?.endAsync(true);
  await daemon.kill('SIGTERM');
  await upstream.stop();
  place.remove();
});

async function publish(round: string, count: number): Promise<void> {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { protocolVersion: 4, reconnectPeriod: 0 });
  for (let n = 0; n < count; n++) {
    const name = `${round}-${n}`;
    const payload = `${name} ${'x'.repeat((n * 37) % 900)}`;
    await client.publishAsync('fill', payload, { qos: 1 });
    sent.set(name, payload);
  }
  await client.endAsync();
}

interface Report {
  readonly state: string;
  readonly conditions: readonly { readonly code: string; readonly detail: string }[];
}

const report = async () => (await daemon.status()) as unknown as Report;
const stateDir = () => daemon.stateDir;
const files = (store: string) => readdirSync(join(stateDir(), store));
const copies = () => readdirSync(stateDir()).filter((name) => name.includes('.corrupt-'));

describe('a gateway whose files were damaged', () => {
  it('starts, forwards nothing wrong, and says what it lost', { timeout: 90_000 }, async () => {
    await daemon.start();
    const subscriber = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { clientId: 'kept', clean: false });
    await subscriber.subscribeAsync('fill', { qos: 1 });
    await subscriber.endAsync(true);
    await publish('first', 60);
    await daemon.kill('SIGTERM');
    await daemon.start();
    await publish('second', 60);
    await daemon.kill('SIGTERM');
    // no CURRENT: LevelDB alone would begin anew, and delete all tables
    rmSync(join(stateDir(), 'log', 'CURRENT'));
    // a journal whose middle is gone
    const journal = files('sessions').find((name) => name.endsWith('.log')) ?? '';
    const bytes = readFileSync(join(stateDir(), 'sessions', journal));
    writeFileSync(join(stateDir(), 'sessions', journal), bytes.fill(0, 0, bytes.length >> 1));
    for (const name of files('index'))
      if (/ldb$|^MANIFEST/.test(name)) writeFileSync(join(stateDir(), 'index', name), '');
    await daemon.start();
    const { state, conditions } = await report();
    expect(state).toBe('degraded');
    const codes = conditions.map(({ code }) => code);
    expect(codes).toContain('store_damaged');
    expect(codes).toContain('sessions_damaged');
    expect(daemon.output).toMatch(/the store was damaged and repaired/);
    await publish('third', 20);
    await upstream.start();
    // the tables were all there: nothing is lost of what they held
    await eventually(() => [...sent.keys()].every((name) => received.has(name)), 'all that was acknowledged');
    for (const [name, payload] of received) expect(payload).toBe(sent.get(name));
  });

  it('keeps two of the copies that it moved aside', { timeout: 60_000 }, async () => {
    await daemon.kill('SIGTERM');
    for (let round = 0; round < 3; round++) {
      rmSync(join(stateDir(), 'log'), { recursive: true });
      writeFileSync(join(stateDir(), 'log'), `nothing like a log: ${round}`);
      await daemon.start();
      expect((await report()).conditions.find(({ code }) => code === 'store_damaged')?.detail).toContain('.corrupt-');
      await daemon.kill('SIGTERM');
    }
    const kept = copies().filter((name) => name.startsWith('log.'));
    expect(kept).toHaveLength(2);
    expect(readFileSync(join(stateDir(), kept[1] ?? ''), 'utf8')).toContain('2');
    expect(daemon.output).toMatch(/an older damaged copy of a store was deleted/);
  });

  it('of a later version is not started, and left as it is', { timeout: 60_000 }, async () => {
    const store = new LevelStore(join(stateDir(), 'log'));
    await store.open();
    const value = Buffer.from('9');
    const keys = ['mformat', 'mformat2'];
    await store.write(
      keys.map((key) => ({ type: 'put', key: Buffer.from(key), value })),
      true,
    );
    await store.close();
    const before = copies();
    const { code, output } = await run(process.execPath, [holdfast, 'run', '--config', daemon.configFile]);
    expect(output).toMatch(/log\/.*format 9\b.*format 2\b/);
    expect(code).toBe(78);
    expect(copies()).toEqual(before);
    expect(existsSync(join(stateDir(), 'log', 'CURRENT'))).toBe(true);
  });
});
