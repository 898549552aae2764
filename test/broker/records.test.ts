import mqtt from 'mqtt';
import { describe, expect, it } from 'vitest';
import { deviceIdOf, type StoredEvent } from '../../src/domain/index.ts';
import { message, readAll } from '../log/support.ts';
import type { LocalGateway } from '../support/local-gateway.ts';
import { connect, gateway } from './clients.ts';

/** The events so far, once there are `count` of them. */
async function events(of: LocalGateway, count: number): Promise<readonly StoredEvent[]> {
  for (;;) {
    const page = await of.log.events.read(of.log.events.head, { bytes: Number.POSITIVE_INFINITY });
    const found = [...page.events];
    if (found.length >= count) return found;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

const shown = (event: StoredEvent): string =>
  event.kind === 'delivered'
    ? `delivered ${deviceIdOf(event.clientId)} /${event.qos}`
    : `${event.kind} ${deviceIdOf(event.clientId)} ${event.reason}`;

async function publish(to: LocalGateway, topic: string, payload: string, changes = {}): Promise<bigint> {
  return new Promise((resolve, reject) =>
    to.pipeline.publish(message(payload, topic, changes), (error, id) =>
      error === undefined ? resolve(id ?? 0n) : reject(error),
    ),
  );
}

describe('of an MQTT client', () => {
  it('what it connected with is recorded, and how it went', async () => {
    const local = await gateway({ passwords: { u: 'p' } });
    const will = { topic: 'gone', payload: Buffer.from('x'), qos: 1, retain: true } as const;
    const one = await connect(local, {
      clientId: 'one',
      username: 'u',
      password: 'p',
      keepalive: 77,
      clean: false,
      will,
    });
    await one.endAsync();
    const two = await connect(local, { clientId: 'two', protocolId: 'MQIsdp', protocolVersion: 3 });
    two.stream.destroy();
    await mqtt
      .connectAsync(`mqtt://127.0.0.1:${local.port}`, {
        clientId: 'three',
        username: 'u',
        password: 'wrong',
        protocolVersion: 4,
        reconnectPeriod: 0,
      })
      .catch(() => undefined);
    const found = await events(local, 5);
    const of = (device: string) => found.filter((event) => deviceIdOf(event.clientId) === device);
    expect(of('one').map(shown)).toEqual(['connected one normal', 'disconnected one normal']);
    expect(of('one')[0]).toMatchObject({
      username: 'u',
      network: 'tcp',
      version: 4,
      keepalive: 77,
      clean: false,
      will: { topic: 'gone', qos: 1, retain: true },
    });
    expect(of('two')[0]).toMatchObject({ version: 3, clean: true, will: undefined, username: '' });
    expect(of('two').map(shown)).toEqual(['connected two normal', 'disconnected two socket_error']);
    expect(of('three').map(shown)).toEqual(['connected three not_authorized']);
    const ids = found.map((event) => (event.kind === 'delivered' ? 0n : event.connection));
    expect(new Set(ids).size).toBe(3);
  });

  it('the end is recorded for what it was', async () => {
    const local = await gateway();
    const one = await connect(local, { clientId: 'one' });
    const again = await connect(local, { clientId: 'one' });
    const bad = await connect(local, { clientId: 'bad' });
    bad.stream.write(Buffer.from([0xf0, 0x00]));
    await events(local, 5);
    await local.broker.stop();
    const found = (await events(local, 6)).filter((event) => event.kind === 'disconnected').map(shown);
    expect(found.sort()).toEqual([
      'disconnected bad protocol_error',
      'disconnected one server_shutdown',
      'disconnected one taken_over',
    ]);
    expect([one.connected, again.connected]).toEqual([false, false]);
  });

  it('the messages carry its connection, its will too', async () => {
    const local = await gateway();
    const will = { topic: 'gone', payload: Buffer.from('x'), qos: 1, retain: false } as const;
    const one = await connect(local, { clientId: 'one', will });
    await one.publishAsync('a', 'x', { qos: 1 });
    one.stream.destroy();
    const [came] = await events(local, 2);
    const connection = came?.kind === 'connected' ? came.connection : undefined;
    for (;;) {
      const { messages } = await readAll(local.log, 0n);
      if (messages.length === 2) {
        expect(messages.map((each) => [each.topic, each.connection])).toEqual([
          ['a', connection],
          ['gone', connection],
        ]);
        return;
      }
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  });

  it('each delivery is recorded once, with its QoS, retained and queued messages too', async () => {
    const local = await gateway();
    const retained = await publish(local, 'kept', 'r', { retain: true });
    const away = await connect(local, { clientId: 'away', clean: false });
    await away.subscribeAsync('t/#', { qos: 2 });
    await away.endAsync();
    const here = await connect(local, { clientId: 'here' });
    await here.subscribeAsync(['t/#', 't/1', 'kept'], { qos: 1 });
    const ids = [
      await publish(local, 't/0', 'x', { qos: 0 }),
      await publish(local, 't/1', 'x', { qos: 1 }),
      await publish(local, 't/2', 'x', { qos: 2 }),
    ];
    const back = await connect(local, { clientId: 'away', clean: false });
    const deliveries = (await events(local, 10)).flatMap((event) => (event.kind === 'delivered' ? [event] : []));
    const of = (device: string) =>
      deliveries.filter((one) => deviceIdOf(one.clientId) === device).map((one) => [one.message, one.qos]);
    expect(of('here')).toEqual([
      [retained, 1],
      [ids[0], 0],
      [ids[1], 1],
      [ids[2], 1],
    ]);
    expect(of('away')).toEqual([
      [ids[1], 1],
      [ids[2], 2],
    ]);
    await back.endAsync();
  });

  it('the subscriptions are told, those of a session that is away as well', async () => {
    const local = await gateway();
    const one = await connect(local, { clientId: 'one@app', clean: false });
    await one.subscribeAsync({ 'a/+': { qos: 2 }, b: { qos: 0 } });
    const expected = [
      { topic: 'a/+', qos: 2 },
      { topic: 'b', qos: 0 },
    ];
    expect(local.broker.subscriptions('one@app')).toEqual(expected);
    await one.endAsync();
    expect(local.broker.subscriptions('one@app')).toEqual(expected);
    expect(local.broker.subscriptions('two@app')).toEqual([]);
  });
});
