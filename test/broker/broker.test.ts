import { once } from 'node:events';
import { createConnection } from 'node:net';
import type { IClientOptions, MqttClient } from 'mqtt';
import * as packet from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import type { Message } from '../../src/domain/index.ts';
import { message, readAll } from '../log/support.ts';
import type { LocalGateway } from '../support/local-gateway.ts';
import { connect, gateway } from './clients.ts';

/** Resolved with the first `count` messages, as `topic=payload/qos`. */
function received(client: MqttClient, count: number): Promise<string[]> {
  return new Promise((resolve) => {
    const got: string[] = [];
    client.on('message', (topic, payload, { qos }) => {
      got.push(`${topic}=${payload}/${qos}`);
      if (got.length === count) resolve(got);
    });
  });
}

function closed(client: MqttClient): Promise<void> {
  return new Promise((resolve) => client.once('close', () => resolve()));
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise<void>((resolve) => setImmediate(resolve));
}

function publish(to: LocalGateway, given: Message): Promise<void> {
  return new Promise((resolve, reject) => to.pipeline.publish(given, (error) => (error ? reject(error) : resolve())));
}

describe('a PUBLISH from a client', () => {
  it.each([1, 2] as const)('of QoS %i is acknowledged only after its record is on disk', async (qos) => {
    const local = await gateway();
    const client = await connect(local);
    local.store.held = true;
    let acknowledged = false;
    const done = client.publishAsync('a/b', 'x', { qos }).then(() => {
      acknowledged = true;
    });
    await until(() => local.log.commitStalledFor > 5);
    expect(acknowledged).toBe(false);
    local.store.release();
    await done;
    const { messages } = await readAll(local.log, 0n);
    expect(messages).toMatchObject([{ topic: 'a/b', qos, origin: 'mqtt' }]);
  });

  it('gets no acknowledgement where the store fails, and the connection ends', async () => {
    const local = await gateway();
    const client = await connect(local);
    local.store.broken = true;
    let acknowledged = false;
    client.publish('a/b', 'x', { qos: 1 }, (error) => {
      acknowledged = error === undefined || error === null;
    });
    await closed(client);
    expect(acknowledged).toBe(false);
  });

  it('of QoS 2 that is sent again before its PUBREL is logged and delivered once', async () => {
    const local = await gateway();
    const socket = createConnection(local.port, '127.0.0.1');
    const answers: string[] = [];
    const parser = packet.parser();
    parser.on('packet', (one) => answers.push(one.cmd));
    socket.on('data', (data) => parser.parse(data));
    const send = (one: packet.Packet) => socket.write(packet.generate(one));
    send({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, clientId: 'q2', keepalive: 0 });
    await until(() => answers.length === 1);
    const twice: packet.Packet = {
      cmd: 'publish',
      topic: 'a',
      payload: 'x',
      qos: 2,
      messageId: 7,
      dup: false,
      retain: false,
    };
    send(twice);
    await until(() => answers.length === 2);
    send({ ...twice, dup: true });
    await until(() => answers.length === 3);
    expect(answers).toEqual(['connack', 'pubrec', 'pubrec']);
    expect((await readAll(local.log, 0n)).messages).toHaveLength(1);
    socket.destroy();
  });

  it('that the rules refuse is acknowledged and reaches nobody', async () => {
    const local = await gateway({
      rules: [{ effect: 'allow', action: 'all', user: '*', client: '*', topic: 'ok/#' }],
    });
    const client = await connect(local);
    await client.subscribeAsync('ok/#', { qos: 1 });
    const got = received(client, 1);
    await client.publishAsync('no/x', 'secret', { qos: 1 });
    await client.publishAsync('ok/x', 'fine', { qos: 1 });
    expect(await got).toEqual(['ok/x=fine/1']);
    expect((await readAll(local.log, 0n)).messages).toHaveLength(1);
  });

  it('above the packet limit ends the connection, before login too', async () => {
    const local = await gateway({ listener: { maxPacket: 1_000 } });
    const client = await connect(local);
    client.publish('a', Buffer.alloc(2_000), { qos: 1 });
    await closed(client);
    const socket = createConnection(local.port, '127.0.0.1');
    // CONNECT that announces 200 MB
    socket.write(Buffer.from([0x10, 0x80, 0x84, 0xaf, 0x5f]));
    await once(socket, 'close');
  });
});

describe('delivery', () => {
  it('loses nothing where QoS 1 and QoS 0 are published in one turn', async () => {
    const local = await gateway();
    const client = await connect(local);
    await client.subscribeAsync('#', { qos: 1 });
    const got = received(client, 400);
    for (let n = 0; n < 200; n++) {
      local.pipeline.publish(message(`${n}`, 'one', { qos: 1 }), () => undefined);
      local.pipeline.publish(message(`${n}`, 'zero', { qos: 0 }), () => undefined);
    }
    const all = await got;
    expect(all.filter((text) => text.startsWith('one='))).toEqual(Array.from({ length: 200 }, (_, n) => `one=${n}/1`));
    expect(all.filter((text) => text.startsWith('zero='))).toEqual(
      Array.from({ length: 200 }, (_, n) => `zero=${n}/0`),
    );
  });

  it('never exceeds the QoS of the subscription, through a wildcard too', async () => {
    const local = await gateway();
    const client = await connect(local);
    await client.subscribeAsync('q/#', { qos: 1 });
    const got = received(client, 2);
    await publish(local, message('x', 'q/a', { qos: 2 }));
    await publish(local, message('y', 'q/a', { qos: 0 }));
    expect(await got).toEqual(['q/a=x/1', 'q/a=y/0']);
  });

  it('goes from one MQTT client to another in order, once', async () => {
    const local = await gateway();
    const sender = await connect(local);
    const receiver = await connect(local);
    await receiver.subscribeAsync('s/+', { qos: 2 });
    const got = received(receiver, 90);
    for (let n = 0; n < 90; n++) sender.publish(`s/${n % 3}`, `${n}`, { qos: (n % 3) as 0 | 1 | 2 });
    const order = (await got).map((text) => Number(/=(\d+)/.exec(text)?.[1]));
    for (const kind of [0, 1, 2]) {
      const of = order.filter((n) => n % 3 === kind);
      expect(of).toEqual([...of].sort((a, b) => a - b));
    }
    expect(new Set(order).size).toBe(90);
  });

  it('gives a new subscriber the retained messages, also those published elsewhere, and none that was cleared', async () => {
    const local = await gateway();
    await publish(local, message('21', 'room/1', { retain: true }));
    await publish(local, message('22', 'room/2', { retain: true }));
    await publish(local, message('', 'room/2', { retain: true }));
    const client = await connect(local);
    const got = new Promise((resolve) =>
      client.once('message', (topic, payload, { retain }) => resolve([topic, `${payload}`, retain])),
    );
    await client.subscribeAsync('room/#', { qos: 1 });
    expect(await got).toEqual(['room/1', '21', true]);
  });

  it('publishes the will of a client that vanished, and logs it', async () => {
    const local = await gateway();
    const watcher = await connect(local);
    await watcher.subscribeAsync('gone/#', { qos: 1 });
    const got = received(watcher, 1);
    const dying = await connect(local, {
      clientId: 'dying',
      will: { topic: 'gone/dying', payload: Buffer.from('bye'), qos: 1, retain: false },
    });
    dying.stream.destroy();
    expect(await got).toEqual(['gone/dying=bye/1']);
    // subscribers do not wait for the disk
    await until(() => local.log.size.records > 0 && local.log.commitStalledFor === 0);
    const { messages } = await readAll(local.log, 0n);
    expect(messages).toMatchObject([{ topic: 'gone/dying', clientId: 'dying@app' }]);
  });
});

describe('coming in', () => {
  async function refusal(local: LocalGateway, options: IClientOptions): Promise<number> {
    const thrown: unknown = await connect(local, options).then(
      () => undefined,
      (error: unknown) => error,
    );
    return thrown instanceof Error && 'code' in thrown ? Number(thrown.code) : -1;
  }

  it('is refused with the code of MQTT 3.1.1 §3.2.2.3', async () => {
    const local = await gateway({ passwords: { ann: 'right' }, anonymous: false });
    expect(await refusal(local, { username: 'ann', password: 'wrong' })).toBe(4);
    expect(await refusal(local, {})).toBe(5);
    expect(await refusal(local, { username: 'ann', password: 'right', clientId: 'x@other' })).toBe(2);
    expect(await refusal(local, { username: 'ann', password: 'right', clientId: 'x' })).toBe(-1);
  });

  it('anonymously still checks the password of a name that has one', async () => {
    const local = await gateway({ passwords: { ann: 'right' } });
    expect(await refusal(local, { username: 'ann', password: 'wrong' })).toBe(4);
    expect(await refusal(local, { username: 'admin', password: 'public' })).toBe(-1);
  });

  it('under a client id with and without its AppID is one client', async () => {
    const local = await gateway();
    const first = await connect(local, { clientId: '123' });
    const ended = closed(first);
    await connect(local, { clientId: '123@app' });
    await ended;
    expect(local.registry.count('mqtt')).toBe(1);
    expect(local.registry.find('123@app')?.protocol).toBe('mqtt');
  });

  it('with an empty client id and a persistent session is refused with 2', async () => {
    const local = await gateway();
    const socket = createConnection(local.port, '127.0.0.1');
    // CONNECT, 3.1.1, clean session 0, client id of no length
    socket.write(Buffer.from([0x10, 12, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 0, 0, 0, 0, 0]));
    const [answer] = await once(socket, 'data');
    expect([...answer]).toEqual([0x20, 2, 0, 2]);
    socket.destroy();
  });

  it('with MQTT 5 is answered with return code 1', async () => {
    const local = await gateway();
    const socket = createConnection(local.port, '127.0.0.1');
    socket.write(
      packet.generate({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: 5,
        clean: true,
        clientId: 'five',
        keepalive: 0,
      }),
    );
    const [answer] = await once(socket, 'data');
    expect([...answer.subarray(0, 4)]).toEqual([0x20, 2, 0, 1]);
    socket.destroy();
  });
});

describe('a subscription', () => {
  it('to a shared group, or against the rules, is refused with 0x80', async () => {
    const local = await gateway({
      rules: [
        { effect: 'deny', action: 'subscribe', user: '*', client: '*', topic: 'secret/#' },
        { effect: 'allow', action: 'all', user: '*', client: '*', topic: '#' },
      ],
    });
    const client = await connect(local);
    const granted = await client
      .subscribeAsync(['$share/g/a', 'secret/x', '#', 'open/#'], { qos: 1 })
      .catch((error: { packet?: { granted: number[] } }) => error.packet?.granted);
    const codes = Array.isArray(granted) ? granted.map((one) => (typeof one === 'number' ? one : one.qos)) : granted;
    expect(codes).toEqual([128, 128, 128, 1]);
  });
});
