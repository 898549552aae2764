import { afterAll, describe, expect, it } from 'vitest';
import { freePort } from '../support/ports.ts';
import { Collector } from './support/collector.ts';
import { Daemon, eventually } from './support/daemon.ts';
import { Mosquitto, scratch } from './support/peers.ts';
import { CoapPublisher, MqttPublisher, type Publisher } from './support/publisher.ts';

/**
 * kill -9 at random moments under load, while the upstream is stopped and started: every message that was acknowledged
 * arrives upstream at least once, in order per publisher, with no more duplicates than the window per crash.
 *
 * ROUNDS=50 is the full run (`scripts/crash-test`).
 */
const rounds = Number(process.env.ROUNDS ?? 6);
const window = 64;

const place = scratch();
const stopping: (() => Promise<unknown>)[] = [];

afterAll(async () => {
  for (const stop of stopping.reverse()) await stop();
  place.remove();
});

describe('a gateway that is killed again and again', () => {
  it(`hands every acknowledged message on, over ${rounds} kills`, { timeout: 120_000 + rounds * 6_000 }, async () => {
    const [coap, mqttPort, brokerPort] = [await freePort(), await freePort(), await freePort()];
    // the broker keeps its sessions over a restart: what it acknowledged is its own affair
    const broker = new Mosquitto(brokerPort, place.path, { persistent: true });
    await broker.start();
    stopping.push(() => broker.stop());
    const collector = new Collector(brokerPort);
    await collector.ready();
    stopping.push(() => collector.stop());
    const daemon = new Daemon(
      place.path,
      `[coap]\nlisten = ["coap://127.0.0.1:${coap}"]\n[mqtt]\nlisten = ["mqtt://127.0.0.1:${mqttPort}"]\n[[upstream]]\nname = "cloud"\n` +
        `urls = ["mqtt://127.0.0.1:${brokerPort}"]\nclient_id = "gw"\nwindow = ${window}\nbackoff = { base = "20ms", cap = "100ms" }\n` +
        'topics = [{ topic = "load/#", direction = "out", qos = 1, remote_prefix = "up/" }]\n',
    );
    await daemon.start();
    stopping.push(() => daemon.kill());
    const publishers: Publisher[] = [];
    for (let n = 0; n < 4; n++) publishers.push(new CoapPublisher(`c${n}`, () => coap));
    for (let n = 0; n < 4; n++) publishers.push(new MqttPublisher(`m${n}`, mqttPort));
    stopping.push(() => Promise.all(publishers.map((publisher) => publisher.stop())));
    const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
    let outages = 0;
    for (let round = 0; round < rounds; round++) {
      await pause(100 + Math.random() * 700);
      if (round % 3 === 1) {
        await broker.stop('SIGTERM');
        outages += 1;
      }
      await daemon.kill();
      await pause(Math.random() * 100);
      await daemon.start();
      if (round % 3 === 1) {
        await pause(200 + Math.random() * 500);
        await broker.start();
      }
    }
    await pause(500);
    for (const publisher of publishers) await publisher.stop();
    await eventually(async () => {
      const [upstream] = (await daemon.status()).upstreams;
      return upstream?.state === 'connected' && upstream.queuedMessages === 0;
    }, 'the queue is empty');
    const acknowledged = publishers.reduce((sum, publisher) => sum + publisher.acknowledged.length, 0);
    await eventually(
      () =>
        publishers.every(({ name, acknowledged: list }) => collector.received.get(name)?.includes(list.at(-1) ?? -1)),
      'the last of each publisher has arrived',
    );
    let lost = 0;
    let duplicates = 0;
    for (const { name, acknowledged: list } of publishers) {
      const received = collector.received.get(name) ?? [];
      const seen = new Set(received);
      lost += list.filter((serial) => !seen.has(serial)).length;
      duplicates += received.length - seen.size;
      // in order: of the first copies, each is later than those before it
      const firsts = received.filter((serial, at) => received.indexOf(serial) === at);
      expect(firsts).toEqual([...firsts].sort((a, b) => a - b));
    }
    console.log(
      JSON.stringify({ kills: rounds, outages, acknowledged, lost, duplicates, allowed: window * (rounds + outages) }),
    );
    expect(acknowledged).toBeGreaterThan(rounds * 10);
    expect(lost).toBe(0);
    expect(duplicates).toBeLessThanOrEqual(window * (rounds + outages));
  });
});
