import mqtt, { type MqttClient } from 'mqtt';
import { afterAll, expect, it } from 'vitest';
import { freePort } from '../support/ports.ts';
import { Daemon, eventually } from './support/daemon.ts';
import { Mosquitto, scratch } from './support/peers.ts';

/** A backlog replayed as configured: slowly, the newest first, the latest of a state alone; what is given up is announced. */

const place = scratch();
const brokerPlace = scratch();
let daemon: Daemon | undefined;
let upstream: Mosquitto | undefined;
const clients: MqttClient[] = [];

afterAll(async () => {
  for (const client of clients) await client.endAsync(true);
  await daemon?.kill('SIGTERM');
  await upstream?.stop();
  place.remove();
  brokerPlace.remove();
});

async function connect(port: number, clientId: string): Promise<MqttClient> {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { clientId, clean: false, reconnectPeriod: 50 });
  client.on('error', () => undefined);
  clients.push(client);
  return client;
}

it('overtakes, thins out and announces, over a restart', async () => {
  const broker = await freePort();
  const port = await freePort();
  upstream = new Mosquitto(broker, brokerPlace.path, { persistent: true });
  await upstream.start();
  const collector = await connect(broker, 'collector');
  const received: string[] = [];
  let status: { gaps?: { reason: string; count: number }[]; lost?: { superseded?: number } } = {};
  collector.on('message', (topic, payload) => {
    if (topic === 'gw/status') status = JSON.parse(payload.toString());
    else received.push(payload.toString());
  });
  await collector.subscribeAsync(['site/#', 'gw/status'], { qos: 1 });
  await upstream.stop('SIGTERM');

  daemon = new Daemon(
    place.path,
    `[mqtt]\nlisten = ["mqtt://127.0.0.1:${port}"]\n[[upstream]]\nname = "cloud"\nurls = ["mqtt://127.0.0.1:${broker}"]\n` +
      'status_topic = "gw/status"\nbackoff = { base = "50ms", cap = "200ms" }\n' +
      'replay = { order = "live_first", rate = 20, start_delay = "1s" }\n' +
      'topics = [{ topic = "state/#", direction = "out", remote_prefix = "site/", keep = "latest" },\n' +
      '  { topic = "#", direction = "out", remote_prefix = "site/" }]\n',
  );
  await daemon.start();
  let device = await connect(port, 'device');
  for (let at = 0; at < 40; at++) {
    await device.publishAsync('event', `event ${at}`, { qos: 1 });
    await device.publishAsync('state/door', `door ${at}`, { qos: 1 });
  }
  await device.endAsync(true);
  await daemon.kill('SIGKILL');
  await daemon.start();
  device = await connect(port, 'device');
  await upstream.start();
  await eventually(async () => {
    const [cloud] = (await daemon?.status())?.upstreams ?? [];
    return cloud?.state === 'connected';
  }, 'the upstream is connected');
  await device.publishAsync('event', 'live', { qos: 1 });
  await eventually(() => received.length >= 42, 'all that is to come is there');
  // forty events at twenty a second: the fresh one was there long before the last of them
  expect(received.indexOf('live')).toBeLessThan(20);
  expect(received.filter((one) => one.startsWith('event'))).toEqual(
    Array.from({ length: 40 }, (_, at) => `event ${at}`),
  );
  expect(received.filter((one) => one.startsWith('door'))).toEqual(['door 39']);
  await eventually(() => status.lost?.superseded === 39, 'what was passed over is announced');
  expect(status.gaps).toMatchObject([{ reason: 'superseded', count: 39 }]);
});
