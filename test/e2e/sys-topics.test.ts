import { afterAll, describe, expect, it } from 'vitest';
import { freePort } from '../support/ports.ts';
import { Raw } from './conformance/raw.ts';
import { Daemon, eventually } from './support/daemon.ts';
import { coapClient, Mosquitto, scratch, subscriber } from './support/peers.ts';
import { run } from './support/process.ts';

const place = scratch();
const ends: (() => unknown)[] = [() => place.remove()];

afterAll(async () => {
  for (const end of ends.reverse()) await end();
});

describe('$SYS of the daemon', () => {
  it('has the queue and the link of an upstream, CoAP clients as they come and go, and stays in the house', async () => {
    const [port, coap, cloud] = [await freePort(), await freePort(), await freePort()];
    const daemon = new Daemon(
      place.path,
      `[mqtt]
listen = ["mqtt://127.0.0.1:${port}"]
sys_interval = "200ms"
[coap]
listen = ["coap://127.0.0.1:${coap}"]
mode = "connection"
[[upstream]]
name = "cloud"
urls = ["mqtt://127.0.0.1:${cloud}"]
topics = [{ topic = "#", direction = "out" }]
backoff = { base = "50ms", cap = "100ms" }
`,
    );
    ends.push(() => daemon.kill('SIGTERM'));
    await daemon.start();
    const reader = new Raw(port);
    ends.push(() => reader.vanish());
    await reader.connect();
    const values = new Map<string, string>();
    const events: string[] = [];
    const read = (): boolean => {
      for (const packet of reader.got.splice(0)) {
        if (packet.cmd !== 'publish') continue;
        values.set(packet.topic.replace('$SYS/broker/', ''), `${packet.payload}`);
        if (packet.topic.includes('/clients/') && packet.topic.startsWith('$SYS/brokers/')) events.push(packet.topic);
      }
      return true;
    };
    const becomes = (name: string, value: string) =>
      eventually(() => read() && values.get(name) === value, `${name} is ${value}, not ${values.get(name)}`, 10_000);
    await reader.subscribe('$SYS/#', 1);
    await becomes('connection/cloud/state', '0');
    await reader.publish('a/b', 'x', { qos: 1 });
    await reader.publish('a/b', 'y', { qos: 1 });
    await becomes('queue/cloud/messages', '2');
    await becomes('publish/messages/received', '2');

    const mosquitto = new Mosquitto(cloud, place.path);
    ends.push(() => mosquitto.stop());
    await mosquitto.start();
    const watcher = await subscriber(cloud, '#');
    ends.push(() => watcher.kill());
    await becomes('connection/cloud/state', '1');
    await becomes('queue/cloud/messages', '0');

    const login = await run(coapClient, [
      ...['-m', 'post', '-B', '5', `coap://127.0.0.1:${coap}/mqtt/connection?clientid=sensor&username=u&password=p`],
    ]);
    expect(login.code, login.output).toBe(0);
    await becomes('clients/coap/connected', '1');
    await eventually(
      () => read() && events.some((topic) => /\/clients\/sensor@[^/]+\/connected$/.test(topic)),
      'an event',
    );
    await reader.publish('a/b', 'last', { qos: 1 });
    await watcher.outputs(/a\/b last/);
    expect(watcher.output).not.toContain('$SYS');
    // written lazily, where the upstream has it already
    const { store } = (await daemon.status()) as unknown as { store: { messages: number } };
    expect(store.messages).toBeLessThanOrEqual(3);
  });
});
