import { expect } from 'vitest';
import { conformance, type Peer } from './peers.ts';
import { bytesOf, connectOf, packetOf, type Raw, unique } from './raw.ts';

/** Sends the bytes on a fresh connection, and expects the connection to end without an answer. */
async function isCut(peer: Peer, bytes: Buffer): Promise<void> {
  const raw = peer.dial();
  raw.raw(bytes);
  await raw.closed();
  expect([...raw.bytes]).toEqual([]);
}

async function answer(peer: Peer, bytes: Buffer): Promise<Raw> {
  const raw = peer.dial();
  raw.raw(bytes);
  await raw.next('connack');
  return raw;
}

const codeOf = (raw: Raw) => raw.bytes[3];

conformance('CONNECT and CONNACK', (statement) => {
  statement('MQTT-3.1.0-1 the first packet must be a CONNECT: any other ends the connection', async (peer) => {
    await isCut(peer, packetOf(0x30, 'a/b', Buffer.from('x')));
    await isCut(peer, packetOf(0x82, 0, 1, 'a', 0));
    await isCut(peer, packetOf(0xa2, 0, 1, 'a'));
    for (const type of [0x40, 0x50, 0x62, 0x70]) await isCut(peer, packetOf(type, 0, 1));
    for (const type of [0xc0, 0xe0]) await isCut(peer, packetOf(type));
  });

  statement('MQTT-3.1.0-2 a second CONNECT is a protocol violation and ends the connection', async (peer) => {
    const raw = await peer.client();
    raw.raw(connectOf());
    await raw.closed();
    expect(raw.got).toEqual([]);
  });

  statement('MQTT-3.1.0-2 a second CONNECT in the same segment as the first ends the connection', async (peer) => {
    const raw = peer.dial();
    const connect = connectOf();
    raw.raw(Buffer.concat([connect, connect]));
    await raw.closed();
    expect(raw.got.length).toBeLessThan(2);
  });

  statement('MQTT-3.1.2-1 another protocol name ends the connection', async (peer) => {
    for (const name of ['mqtt', 'MQTTT', '', 'HTTP', 'MQIsdq']) await isCut(peer, connectOf({ name }));
  });

  statement('MQTT-3.1.2-2 a protocol level it does not speak is answered with return code 1', async (peer) => {
    for (const level of [0, 6, 127]) {
      const raw = await answer(peer, connectOf({ level }));
      expect([...raw.bytes]).toEqual([0x20, 2, 0, 1]);
      await raw.closed();
    }
  });

  statement(
    'MQTT-3.1.2-2 level 4 under the old name, and level 3 under the new one, are answered with return code 1',
    async (peer) => {
      const raws = [
        await answer(peer, connectOf({ name: 'MQIsdp', level: 4 })),
        await answer(peer, connectOf({ level: 3 })),
      ];
      for (const raw of raws) {
        expect([...raw.bytes]).toEqual([0x20, 2, 0, 1]);
        await raw.closed();
      }
    },
    { notMosquitto: 'closes at once for MQIsdp with level 4, and takes MQTT with level 3' },
  );

  statement(
    'MQTT-3.1.2-2 MQTT 5 is answered as a 3.1.1 server has to, at once, with properties and a will too',
    async (peer) => {
      const plain = await answer(peer, packetOf(0x10, 'MQTT', 5, 2, 0, 0, 0, unique('v')));
      expect([...plain.bytes]).toEqual([0x20, 2, 0, 1]);
      await plain.closed();
      const properties = [5, 0x11, 0, 0, 0, 60];
      const full = await answer(
        peer,
        packetOf(0x10, 'MQTT', 5, 0xc6, 0, 0, ...properties, unique('v'), 0, 'w', 'x', 'user', 'password'),
      );
      expect([...full.bytes]).toEqual([0x20, 2, 0, 1]);
      await full.closed();
    },
    { notMosquitto: 'speaks MQTT 5' },
  );

  statement('MQTT-3.1.2-3 the reserved connect flag set ends the connection', async (peer) => {
    await isCut(peer, connectOf({ flags: 3 }));
  });

  statement(
    'MQTT-3.1.2-4, 3.1.3-2, 3.1.4-3, 3.2.2-2, 3.2.2-3, 4.1.0-2 a session is kept with clean session 0, and CONNACK says so',
    async (peer) => {
      const clientId = unique('s');
      const first = await peer.connect({ clientId, clean: false });
      expect(first.connack).toMatchObject({ returnCode: 0, sessionPresent: false });
      await first.raw.subscribe('kept/a', 1);
      await first.raw.disconnect();
      const second = await peer.connect({ clientId, clean: false });
      expect(second.connack).toMatchObject({ returnCode: 0, sessionPresent: true });
      await second.raw.publish('kept/a', 'x', { qos: 1 });
      expect(`${(await second.raw.messages(1))[0]?.payload}`).toBe('x');
    },
  );

  statement('MQTT-3.2.2-2 a session without a subscription is present, too', async (peer) => {
    const clientId = unique('s');
    await (await peer.client({ clientId, clean: false })).disconnect();
    const { connack } = await peer.connect({ clientId, clean: false });
    expect(connack.sessionPresent).toBe(true);
  });

  statement(
    'MQTT-3.1.2-6, 3.1.4-3, 3.2.2-1 clean session 1 discards what was there, and says session present 0',
    async (peer) => {
      const clientId = unique('s');
      const first = await peer.client({ clientId, clean: false });
      await first.subscribe('gone/a', 1);
      await first.disconnect();
      const second = await peer.connect({ clientId, clean: true });
      expect(second.connack.sessionPresent).toBe(false);
      await second.raw.publish('gone/a', 'x', { qos: 1 });
      expect(await second.raw.before()).toEqual([]);
      await second.raw.disconnect();
      const third = await peer.connect({ clientId, clean: false });
      expect(third.connack.sessionPresent).toBe(false);
      await third.raw.publish('gone/a', 'x', { qos: 1 });
      expect(await third.raw.before()).toEqual([]);
    },
  );

  statement('MQTT-3.1.2-7 retained messages are no part of a session', async (peer) => {
    const clientId = unique('s');
    const topic = unique('retained/');
    const first = await peer.client({ clientId, clean: false });
    await first.publish(topic, 'stays', { qos: 1, retain: true });
    await first.disconnect();
    const second = await peer.client({ clientId, clean: true });
    await second.subscribe(topic, 1);
    expect(`${(await second.messages(1))[0]?.payload}`).toBe('stays');
  });

  statement('MQTT-3.1.2-8, 3.1.2-10 a will is published when the client vanishes, once', async (peer) => {
    const topic = unique('will/');
    const watcher = await peer.client();
    await watcher.subscribe(topic, 1);
    const dying = await peer.client({ will: { topic, payload: Buffer.from('dead'), qos: 1, retain: false } });
    dying.vanish();
    const [will] = await watcher.messages(1);
    expect(will).toMatchObject({ topic, qos: 1, retain: false });
    expect(await watcher.before()).toEqual([]);
  });

  statement('MQTT-3.1.2-8 a will is published when the server closes for a protocol error', async (peer) => {
    const topic = unique('will/');
    const watcher = await peer.client();
    await watcher.subscribe(topic, 0);
    const wrong = await peer.client({ will: { topic, payload: Buffer.from('broke it'), qos: 0, retain: false } });
    wrong.raw(0xf0, 0);
    expect(`${(await watcher.messages(1))[0]?.payload}`).toBe('broke it');
    await wrong.closed();
  });

  statement('MQTT-3.1.2-11, 3.1.2-13, 3.1.2-15 will flags without a will end the connection', async (peer) => {
    for (const flags of [0x0a, 0x12, 0x22, 0x2a]) await isCut(peer, connectOf({ flags }));
  });

  statement('MQTT-3.1.2-14 a will of QoS 3 ends the connection', async (peer) => {
    await isCut(peer, connectOf({ flags: 0x1e }, 'w', 'x'));
  });

  statement('MQTT-3.1.2-9 a will without topic or payload ends the connection', async (peer) => {
    await isCut(peer, connectOf({ flags: 6 }));
    await isCut(peer, connectOf({ flags: 6 }, 'topic'));
    await isCut(peer, connectOf({ flags: 6 }, 'topic', 0, 9, 1));
  });

  statement('MQTT-3.1.2-9 (§3.1.3.3) a will payload may be empty, and a will of every QoS is kept to', async (peer) => {
    const topic = unique('will/');
    const watcher = await peer.client();
    await watcher.subscribe(`${topic}/#`, 2);
    for (const qos of [0, 1, 2] as const) {
      const dying = await peer.client({
        will: { topic: `${topic}/${qos}`, payload: Buffer.alloc(0), qos, retain: false },
      });
      dying.vanish();
      const [will] = await watcher.messages(1);
      expect(will).toMatchObject({ topic: `${topic}/${qos}`, qos });
      expect(will?.payload.length).toBe(0);
    }
  });

  statement('MQTT-3.1.2-16, 3.1.2-17 a will is retained only where it says so', async (peer) => {
    for (const retain of [false, true]) {
      const topic = unique('will/');
      const watcher = await peer.client();
      await watcher.subscribe(topic, 0);
      const dying = await peer.client({ will: { topic, payload: Buffer.from('w'), qos: 0, retain } });
      dying.vanish();
      expect((await watcher.messages(1))[0]?.retain).toBe(false);
      const late = await peer.client();
      await late.subscribe(topic, 0);
      expect(await late.before(0)).toEqual(retain ? [`${topic}=w`] : []);
    }
  });

  statement('MQTT-3.1.3-10 a will topic that is no UTF-8 ends the connection', async (peer) => {
    await isCut(peer, connectOf({ flags: 6 }, 0, 2, 0xc3, 0x28, 'x'));
  });

  statement(
    'MQTT-3.1.2-18, 3.1.2-20, 3.1.3-1, 3.1.4-1 a user name or password without its flag ends the connection',
    async (peer) => {
      await isCut(peer, connectOf({ flags: 2 }, 'user'));
      await isCut(peer, connectOf({ flags: 0x82 }, 'user', 'password'));
    },
  );

  statement('MQTT-3.1.2-19, 3.1.2-21 a flag without its user name or password ends the connection', async (peer) => {
    await isCut(peer, connectOf({ flags: 0x82 }));
    await isCut(peer, connectOf({ flags: 0xc2 }, 'user'));
  });

  statement('MQTT-3.1.2-22 a password without a user name ends the connection', async (peer) => {
    await isCut(peer, connectOf({ flags: 0x42 }, 'password'));
  });

  statement('MQTT-3.1.3-11 a user name that is no UTF-8 ends the connection', async (peer) => {
    await isCut(peer, connectOf({ flags: 0x82 }, 0, 2, 0xff, 0xfe));
  });

  statement('MQTT 3.1.1 §3.1.3.5 a password is bytes: any, and none', async (peer) => {
    for (const password of [Buffer.from([0, 2, 0xff, 0]), Buffer.from([0, 0])]) {
      const raw = await answer(peer, connectOf({ flags: 0xc2 }, 'stranger', password));
      expect(codeOf(raw)).toBe(0);
    }
  });

  statement(
    'MQTT-3.1.2-24 a client silent for one and a half keep-alives is cut off, and its will published',
    async (peer) => {
      const topic = unique('will/');
      const watcher = await peer.client();
      await watcher.subscribe(topic, 0);
      const begun = performance.now();
      const silent = await peer.client({
        keepalive: 1,
        will: { topic, payload: Buffer.from('x'), qos: 0, retain: false },
      });
      await silent.closed(12_000);
      const after = performance.now() - begun;
      // mosquitto counts whole seconds, and looks every few of them
      expect(after).toBeGreaterThan(peer.name === 'holdfast' ? 1_400 : 900);
      expect(after).toBeLessThan(peer.name === 'holdfast' ? 5_000 : 12_000);
      await watcher.messages(1);
    },
  );

  statement('MQTT-3.1.2-24 a client that pings within its keep-alive is not cut off', async (peer) => {
    const raw = await peer.client({ keepalive: 2 });
    for (let n = 0; n < 5; n++) {
      await new Promise((resolve) => setTimeout(resolve, 800));
      await raw.ping();
    }
    expect(raw.ended).toBe(false);
  });

  statement('MQTT-3.1.3-3 no client id at all, or one cut off, ends the connection', async (peer) => {
    await isCut(peer, packetOf(0x10, 'MQTT', 4, 2, 0, 0));
    await isCut(peer, packetOf(0x10, 'MQTT', 4, 2, 0, 0, 0, 9, 0x61));
  });

  statement('MQTT-3.1.3-4 a client id that is no UTF-8 ends the connection', async (peer) => {
    await isCut(peer, connectOf({ clientId: Buffer.from([0, 2, 0xc3, 0x28]) }));
  });

  statement('MQTT-3.1.3-5 ids of 1 to 23 letters and digits are taken', async (peer) => {
    for (const clientId of ['a', 'Z', '0123456789abcdefghijABC']) {
      expect((await peer.connect({ clientId })).connack.returnCode).toBe(0);
    }
  });

  statement('MQTT-3.1.3-6 an empty client id is taken with clean session 1, and is unique', async (peer) => {
    const [one, other] = [await peer.client({ clientId: '' }), await peer.client({ clientId: '' })];
    await one.ping();
    await other.ping();
  });

  statement(
    'MQTT-3.1.3-8, 3.1.3-9 an empty client id with clean session 0 is refused with 2, and closed',
    async (peer) => {
      const raw = await answer(peer, connectOf({ flags: 0, clientId: '' }));
      expect([...raw.bytes]).toEqual([0x20, 2, 0, 2]);
      await raw.closed();
    },
  );

  statement('MQTT-3.1.4-2 a client that comes back takes over from the older one, which is cut off', async (peer) => {
    const clientId = unique('t');
    const older = await peer.client({ clientId });
    const newer = await peer.client({ clientId });
    await older.closed();
    await newer.ping();
  });

  statement(
    'MQTT-3.1.4-2 a session taken over goes on with its new owner, who gets each message once',
    async (peer) => {
      const clientId = unique('t');
      const topic = unique('over/');
      const older = await peer.client({ clientId, clean: false });
      await older.subscribe(topic, 1);
      const { raw, connack } = await peer.connect({ clientId, clean: false });
      await older.closed();
      expect(connack.sessionPresent).toBe(true);
      await raw.publish(topic, 'x', { qos: 1 });
      expect(await raw.before()).toEqual([`${topic}=x`]);
    },
  );

  statement('MQTT-3.1.4-4, 3.2.0-1 the first packet that a client gets is CONNACK, its answer 0', async (peer) => {
    const topic = unique('first/');
    const clientId = unique('f');
    const away = await peer.client({ clientId, clean: false });
    await away.subscribe(topic, 1);
    await away.disconnect();
    const sender = await peer.client();
    await sender.publish(topic, 'x', { qos: 1 });
    const back = peer.dial();
    back.raw(connectOf({ flags: 0, clientId }));
    await back.next('publish');
    expect([...back.bytes.subarray(0, 4)]).toEqual([0x20, 2, 1, 0]);
  });

  statement('MQTT 3.1.1 §3.1.4 packets sent right behind CONNECT, before CONNACK, are handled', async (peer) => {
    const topic = unique('early/');
    const raw = peer.dial();
    raw.raw(
      Buffer.concat([
        connectOf(),
        packetOf(0x82, 0, 1, topic, 1),
        packetOf(0x32, topic, 0, 2, Buffer.from('x')),
        bytesOf(0xc0, 0),
      ]),
    );
    await raw.next('pingresp');
    await raw.next('suback');
    await raw.next('puback');
    expect(raw.bytes[0]).toBe(0x20);
  });

  statement('MQTT-3.1.4-5 nothing of what follows a CONNECT that is refused is done', async (peer) => {
    const topic = unique('refused/');
    const watcher = await peer.client();
    await watcher.subscribe(topic, 1);
    const raw = peer.dial();
    raw.raw(
      Buffer.concat([
        connectOf({ flags: 0, clientId: '' }),
        packetOf(0x33, topic, 0, 1, Buffer.from('x')),
        packetOf(0x82, 0, 2, topic, 1),
      ]),
    );
    await raw.closed();
    expect([...raw.bytes]).toEqual([0x20, 2, 0, 2]);
    expect(await watcher.before()).toEqual([]);
    await watcher.subscribe(topic, 1);
    expect(await watcher.before()).toEqual([]);
  });

  statement('MQTT-3.1.2-12 a client that comes back without a will leaves none', async (peer) => {
    const topic = unique('will/');
    const watcher = await peer.client();
    await watcher.subscribe(topic, 1);
    const clientId = unique('w');
    const will = { topic, payload: Buffer.from('gone'), qos: 1 as const, retain: false };
    const first = await peer.client({ clientId, will });
    await first.disconnect();
    const again = await peer.client({ clientId });
    again.vanish();
    const witness = await peer.client({ will: { ...will, payload: Buffer.from('witness') } });
    witness.vanish();
    expect(`${(await watcher.messages(1))[0]?.payload}`).toBe('witness');
    expect(await watcher.before()).toEqual([]);
  });

  statement('MQTT-3.2.2-4, 3.2.2-5 a refusal says session present 0 and closes', async (peer) => {
    const raw = await answer(peer, connectOf({ level: 9 }));
    expect(raw.bytes[2]).toBe(0);
    await raw.closed();
  });

  statement('MQTT 3.1 (MQIsdp, level 3) is served', async (peer) => {
    const topic = unique('old/');
    const raw = peer.dial();
    raw.raw(connectOf({ name: 'MQIsdp', level: 3 }));
    expect((await raw.next('connack')).returnCode).toBe(0);
    await raw.subscribe(topic, 1);
    await raw.publish(topic, 'x', { qos: 1 });
    expect(`${(await raw.messages(1))[0]?.payload}`).toBe('x');
    // there SUBSCRIBE has a DUP flag
    raw.raw(packetOf(0x8a, 0, 7, topic, 1));
    expect((await raw.next('suback')).messageId).toBe(7);
  });

  statement(
    'MQTT-3.14.4-3 DISCONNECT drops the will, and the server closes where the client does not',
    async (peer) => {
      const topic = unique('will/');
      const watcher = await peer.client();
      await watcher.subscribe(topic, 1);
      const leaving = await peer.client({ will: { topic, payload: Buffer.from('x'), qos: 1, retain: false } });
      leaving.send({ cmd: 'disconnect' });
      await leaving.closed();
      expect(await watcher.before()).toEqual([]);
    },
  );

  statement(
    'MQTT-3.14.1-1 DISCONNECT with a reserved flag ends the connection, the will is published',
    async (peer) => {
      const topic = unique('will/');
      const watcher = await peer.client();
      await watcher.subscribe(topic, 1);
      const wrong = await peer.client({ will: { topic, payload: Buffer.from('x'), qos: 1, retain: false } });
      wrong.raw(0xe1, 0);
      await wrong.closed();
      await watcher.messages(1);
    },
  );

  statement('MQTT-3.12.4-1 PINGREQ is answered by PINGRESP', async (peer) => {
    const raw = await peer.client();
    for (let n = 0; n < 3; n++) await raw.ping();
  });
});
