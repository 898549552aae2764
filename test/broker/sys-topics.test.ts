import { afterEach, describe, expect, it } from 'vitest';
import { type Figure, SysTopics } from '../../src/broker/sys-topics.ts';
import type { Connected } from '../../src/domain/index.ts';
import { readAll } from '../log/support.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { type LocalGateway, startLocalGateway } from '../support/local-gateway.ts';
import { Wire } from './wire.ts';

const came: Connected = {
  kind: 'connected',
  reason: 'normal',
  connection: 1n,
  clientId: 'a/b+c@app',
  username: 'ann',
  network: 'coap',
  address: '[fe80::1]:5683',
  version: 1,
  keepalive: 30,
  clean: true,
  will: undefined,
};

function made(given: { subscribed?: (topic: string) => boolean; figures?: readonly Figure[]; interval?: number }) {
  const clock = new FakeClock();
  const published: [string, string][] = [];
  const loads = { count: 0 };
  const sys = new SysTopics({
    clock,
    hub: {
      hasSubscribers: given.subscribed ?? (() => true),
      publish: (topic, payload) => published.push([topic, payload]),
    },
    interval: given.interval ?? 10_000,
    node: 'gw',
    figures: () => given.figures ?? [],
    loads: { connections: () => loads.count },
  });
  sys.start();
  return { clock, published, sys, loads };
}

describe('$SYS', () => {
  it('tells who subscribes what has changed, once per interval, and nothing that has not', () => {
    let value = 1;
    const { clock, published } = made({
      subscribed: (topic) => !topic.includes('load'),
      figures: [
        ['steady', () => 7],
        ['rising', () => value],
      ],
    });
    clock.advance(10_000);
    value = 2;
    clock.advance(10_000);
    clock.advance(10_000);
    expect(published).toEqual([
      ['$SYS/broker/steady', '7'],
      ['$SYS/broker/rising', '1'],
      ['$SYS/broker/rising', '2'],
    ]);
  });

  it('reads no figure that nobody subscribes to', () => {
    const read: string[] = [];
    const { clock } = made({
      subscribed: (topic) => topic.endsWith('/wanted'),
      figures: [
        ['wanted', () => read.push('wanted')],
        ['unwanted', () => read.push('unwanted')],
      ],
    });
    clock.advance(20_000);
    expect(read).toEqual(['wanted', 'wanted']);
  });

  it('averages what happened per minute over one, five and fifteen minutes', () => {
    const { clock, sys, loads } = made({ subscribed: () => false });
    // ten per second for half an hour
    for (let n = 0; n < 180; n++) {
      loads.count += 100;
      clock.advance(10_000);
    }
    const told = [...sys.matching('$SYS/broker/load/#')].map(({ topic, payload }) => [topic, Number(`${payload}`)]);
    expect(told.map(([topic]) => topic)).toEqual([
      '$SYS/broker/load/connections/1min',
      '$SYS/broker/load/connections/5min',
      '$SYS/broker/load/connections/15min',
    ]);
    expect(told[0]?.[1]).toBe(600);
    expect(told[2]?.[1]).toBeGreaterThan(500);
  });

  it('says who came, under a topic with the client id as one level', () => {
    const { published, sys } = made({});
    sys.clientChanged(came);
    const [topic, json] = published[0] ?? ['', ''];
    expect(topic).toBe('$SYS/brokers/gw/clients/a%2Fb%2Bc@app/connected');
    expect(JSON.parse(json)).toMatchObject({
      clientid: 'a/b+c@app',
      username: 'ann',
      protocol: 'coap',
      ipaddress: 'fe80::1',
      sockport: 5683,
      keepalive: 30,
      clean_start: true,
    });
  });

  it('is silent with an interval of 0', () => {
    const { clock, published, sys } = made({ interval: 0, figures: [['a', () => 1]] });
    sys.clientChanged(came);
    clock.advance(100_000);
    expect([...sys.matching('$SYS/#')]).toEqual([]);
    expect(published).toEqual([]);
  });
});

describe('$SYS of a gateway', () => {
  let gateway: LocalGateway | undefined;
  afterEach(async () => {
    await gateway?.stop();
    gateway = undefined;
  });

  it('has a retained value for who subscribes, and nothing of it is logged', async () => {
    gateway = await startLocalGateway({ sys: { interval: 400 } });
    const { wire } = await Wire.open(gateway, 'reader');
    await wire.subscribe('$SYS/broker/#', 1);
    const values = new Map<string, string>();
    while (!values.has('$SYS/broker/subscriptions/count') || !values.has('$SYS/broker/load/connections/15min')) {
      const one = await wire.next('publish');
      expect(one.qos).toBe(0);
      if (!values.has(one.topic)) expect(one.retain).toBe(true);
      values.set(one.topic, `${one.payload}`);
    }
    expect(values.get('$SYS/broker/version')).toMatch(/^holdfast version/);
    expect(values.get('$SYS/broker/uptime')).toMatch(/^\d+ seconds$/);
    expect(values.get('$SYS/broker/clients/connected')).toBe('1');
    expect(values.get('$SYS/broker/clients/disconnected')).toBe('0');
    expect(values.get('$SYS/broker/subscriptions/count')).toBe('1');
    expect(Number(values.get('$SYS/broker/messages/received'))).toBe(2);
    expect(Number(values.get('$SYS/broker/bytes/received'))).toBeGreaterThan(20);
    // and again as it changes
    for (;;) {
      const { topic, retain, payload } = await wire.next('publish');
      if (topic !== '$SYS/broker/messages/sent' || retain) continue;
      expect(Number(`${payload}`)).toBeGreaterThan(2);
      break;
    }
    await wire.close();
    expect((await readAll(gateway.log, 0n)).messages).toEqual([]);
    expect([...gateway.pipeline.retained.topics()]).toEqual([]);
  });

  it('says who comes and who goes, and why, of each protocol', async () => {
    gateway = await startLocalGateway();
    const { wire } = await Wire.open(gateway, 'reader');
    await wire.subscribe('$SYS/brokers/+/clients/+/+', 0);
    const { wire: other } = await Wire.open(gateway, 'other');
    await other.close();
    const { wire: third } = await Wire.open(gateway, 'third');
    await third.vanish();
    const seen: string[] = [];
    const read = async () => {
      const { topic, payload } = await wire.next('publish');
      const { reason = '', protocol } = JSON.parse(`${payload}`) as { reason?: string; protocol: string };
      seen.push(`${topic.replace('$SYS/brokers/gw/clients/', '')} ${protocol} ${reason}`.trim());
    };
    for (let n = 0; n < 4; n++) await read();
    gateway.registry.open({
      clientId: 'sensor@app',
      username: '',
      protocol: 'coap',
      network: 'coap',
      address: '192.0.2.7:40000',
      version: 1,
      keepalive: 30,
      clean: true,
      will: undefined,
      timeout: 0,
      onEnd: () => undefined,
    });
    await read();
    expect(seen).toEqual([
      'other@app/connected mqtt',
      'other@app/disconnected mqtt normal',
      'third@app/connected mqtt',
      'third@app/disconnected mqtt socket_error',
      'sensor@app/connected coap',
    ]);
  });

  it('has figures for all, events only for whom the rules let', async () => {
    gateway = await startLocalGateway({
      rules: [{ effect: 'allow', action: 'all', user: '*', client: '*', topic: 'own/#' }],
    });
    const { wire } = await Wire.open(gateway, 'reader');
    expect(await wire.subscribe('$SYS/broker/uptime', 0)).toBe(0);
    expect(await wire.subscribe('$SYS/#', 0)).toBe(128);
    expect(await wire.subscribe('$SYS/brokers/+/clients/+/connected', 0)).toBe(128);
  });
});
