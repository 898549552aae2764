import type { Client } from 'aedes';
import { afterEach, describe, expect, it } from 'vitest';
import { isWanted } from '../../src/broker/forwarding.ts';
import { message } from '../log/support.ts';
import { type LocalGateway, startLocalGateway } from '../support/local-gateway.ts';
import { Wire } from './wire.ts';

const gateways: LocalGateway[] = [];

afterEach(async () => {
  for (const gateway of gateways.splice(0)) await gateway.stop();
});

async function started(given: Parameters<typeof startLocalGateway>[0] = {}): Promise<LocalGateway> {
  const gateway = await startLocalGateway(given);
  gateways.push(gateway);
  return gateway;
}

function publish(to: LocalGateway, topic: string, count: number, qos: 1 | 2 = 1, retain = false): Promise<unknown> {
  return Promise.all(
    Array.from(
      { length: count },
      (_, n) =>
        new Promise<void>((resolve, reject) => {
          const one = message(`${n}`, retain ? `${topic}/${n}` : topic, { qos, retain });
          to.pipeline.publish(one, (error) => (error ? reject(error) : resolve()));
        }),
    ),
  );
}

/** Packets that are there once a PINGREQ was answered. */
async function there(wire: Wire): Promise<number> {
  await wire.settled();
  await wire.settled();
  return wire.got.filter(({ cmd }) => cmd === 'publish').length;
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Has `wire`, which subscribes to `fill`, read nothing until the broker finds that it does not. */
async function fill(gateway: LocalGateway, wire: Wire): Promise<void> {
  wire.socket.pause();
  const payload = Buffer.alloc(60_000);
  while ((gateway.metrics.value('holdfast_mqtt_publishes_dropped_total') ?? 0) === 0) {
    gateway.pipeline.publish({ ...message('', 'fill', { qos: 0 }), payload }, () => undefined);
    await turn();
  }
}

/** The next `count` payloads of topics that begin with `prefix`. */
async function from(wire: Wire, prefix: string, count: number): Promise<string[]> {
  const texts: string[] = [];
  while (texts.length < count) {
    const { topic, payload } = await wire.next('publish');
    if (topic.startsWith(prefix)) texts.push(`${payload}`);
  }
  return texts;
}

describe('what waited for a session', () => {
  it('is not forgotten where its client is being closed, which leaves no subscription to aedes', () => {
    const wanted = (closed: boolean, subscriptions: object = {}) =>
      isWanted({ closed, subscriptions } as unknown as Client, { topic: 'a', dup: false });
    expect(wanted(false)).toBe(false);
    expect(wanted(true)).toBe(true);
    expect(wanted(false, { '+': { qos: 0 } })).toBe(true);
  });
});

describe('the window of a subscriber', () => {
  it.each([false, true])('holds what is not acknowledged, clean session %s', async (clean) => {
    const gateway = await started({ limits: { inflight: 3 } });
    const { wire } = await Wire.open(gateway, 'w', clean);
    await wire.subscribe('a', 1);
    await publish(gateway, 'a', 10);
    expect(await there(wire)).toBe(3);
    const [first] = wire.got.splice(0, 1);
    if (first?.cmd === 'publish') wire.send({ cmd: 'puback', messageId: first.messageId ?? 0 });
    expect(await there(wire)).toBe(3);
    expect(await wire.messages(9)).toEqual(Array.from({ length: 9 }, (_, n) => `${n + 1}/1`));
  });

  it.each([false, true])('counts retained messages, clean session %s', async (clean) => {
    const gateway = await started({ limits: { inflight: 3 } });
    await publish(gateway, 'r', 10, 1, true);
    const { wire } = await Wire.open(gateway, 'w', clean);
    await wire.subscribe('r/#', 1);
    while ((await there(wire)) < 3);
    expect(await there(wire)).toBe(3);
    await publish(gateway, 'r/live', 1);
    expect(await there(wire)).toBe(3);
    expect((await wire.messages(11)).sort()).toEqual([
      '0/1',
      '0/1',
      ...Array.from({ length: 9 }, (_, n) => `${n + 1}/1`),
    ]);
  });

  it('counts QoS 2 until PUBCOMP', async () => {
    const gateway = await started({ limits: { inflight: 2 } });
    const { wire } = await Wire.open(gateway, 'w');
    await wire.subscribe('a', 2);
    await publish(gateway, 'a', 5, 2);
    const { messageId = 0 } = await wire.next('publish');
    wire.send({ cmd: 'pubrec', messageId });
    await wire.next('pubrel');
    expect(await there(wire)).toBe(1);
    wire.send({ cmd: 'pubcomp', messageId });
    expect(await there(wire)).toBe(2);
  });

  it('does not hold back QoS 0', async () => {
    const gateway = await started({ limits: { inflight: 2 } });
    const { wire } = await Wire.open(gateway, 'w');
    await wire.subscribe('#', 1);
    await publish(gateway, 'a', 5);
    gateway.pipeline.publish(message('zero', 'z', { qos: 0 }), () => undefined);
    await there(wire);
    expect(wire.got.map((packet) => (packet.cmd === 'publish' ? `${packet.payload}` : ''))).toEqual(['0', '1', 'zero']);
  });

  it('loses nothing where a client vanishes while it is sent what waited, again and again', async () => {
    const gateway = await started({ limits: { inflight: 1_000 } });
    const { wire: first } = await Wire.open(gateway, 'w');
    await first.subscribe('a', 2);
    await first.vanish();
    await publish(gateway, 'a', 500, 2);
    for (let turn = 0; turn < 20; turn++) {
      const { wire } = await Wire.open(gateway, 'w');
      await wire.next('publish');
      await wire.vanish();
    }
    const { wire } = await Wire.open(gateway, 'w');
    const texts = await wire.messages(500, false);
    expect(texts.map((text) => text.replace(/\/.*/, ''))).toEqual(Array.from({ length: 500 }, (_, n) => `${n}`));
  });

  it.each([false, true])(
    'comes behind what filled the socket, with nothing to acknowledge, clean session %s',
    async (clean) => {
      const gateway = await started();
      const { wire } = await Wire.open(gateway, 'w', clean);
      await wire.subscribe('#', 1);
      await fill(gateway, wire);
      await publish(gateway, 'a', 3);
      wire.socket.resume();
      expect(await from(wire, 'a', 3)).toEqual(['0', '1', '2']);
    },
  );

  it('gets all retained messages of QoS 0, though it does not read when it subscribes', async () => {
    const gateway = await started();
    for (let n = 0; n < 100; n++) {
      await new Promise<void>((resolve) =>
        gateway.pipeline.publish(message(`${n}`, `r/${n}`, { qos: 0, retain: true }), () => resolve()),
      );
    }
    const { wire } = await Wire.open(gateway, 'w');
    await wire.subscribe('fill', 0);
    await fill(gateway, wire);
    wire.send({ cmd: 'subscribe', messageId: 2, subscriptions: [{ topic: 'r/#', qos: 1 }] });
    while (gateway.broker.subscriptions('w@app').length < 2) await turn();
    await turn();
    wire.socket.resume();
    expect((await from(wire, 'r/', 100)).sort()).toEqual(Array.from({ length: 100 }, (_, n) => `${n}`).sort());
  });
});
