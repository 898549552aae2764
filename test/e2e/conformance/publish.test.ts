import { expect } from 'vitest';
import { conformance, type Peer } from './peers.ts';
import { type Of, packetOf, type Raw, unique } from './raw.ts';

async function isCut(peer: Peer, bytes: Buffer): Promise<void> {
  const raw = await peer.client();
  raw.raw(bytes);
  await raw.closed();
  expect(raw.got).toEqual([]);
}

const text = ({ payload }: Of<'publish'>) => `${payload}`;

conformance('PUBLISH', (statement) => {
  statement('MQTT-3.3.1-4 both QoS bits set end the connection', async (peer) => {
    for (const first of [0x36, 0x3e, 0x37]) await isCut(peer, packetOf(first, 'a', 0, 1));
  });

  statement(
    'MQTT-3.3.1-2 DUP with QoS 0 ends the connection',
    async (peer) => {
      await isCut(peer, packetOf(0x38, 'a', Buffer.from('x')));
    },
    { notMosquitto: 'takes it' },
  );

  statement('MQTT-3.3.1-3 the DUP flag of a publisher is not passed on', async (peer) => {
    const raw = await peer.client();
    const topic = unique('dup/');
    await raw.subscribe(topic, 1);
    raw.send({ cmd: 'publish', topic, payload: 'x', qos: 1, dup: true, retain: false, messageId: 3 });
    await raw.next('puback');
    expect((await raw.messages(1))[0]?.dup).toBe(false);
  });

  statement('MQTT-3.3.2-2, 4.7.1-1 a wildcard in a topic ends the connection', async (peer) => {
    for (const topic of ['a/#', '+', 'a+b', 'a#']) await isCut(peer, packetOf(0x30, topic, Buffer.from('x')));
  });

  statement('MQTT-4.7.3-1 an empty topic ends the connection', async (peer) => {
    await isCut(peer, packetOf(0x30, '', Buffer.from('x')));
  });

  statement('MQTT 3.1.1 §3.3.3 a payload may be empty and is any bytes', async (peer) => {
    const raw = await peer.client();
    const topic = unique('bytes/');
    await raw.subscribe(topic, 1);
    const bytes = Buffer.from([0, 255, 0xc3, 0x28, 0, 13, 10]);
    await raw.publish(topic, bytes, { qos: 1 });
    await raw.publish(topic, '', { qos: 1 });
    const payloads = (await raw.messages(2)).map(({ payload }) => [...Buffer.from(payload)]);
    expect(payloads).toEqual([[...bytes], []]);
  });

  statement('MQTT-3.3.4-1, 4.3.1-1 QoS 0 has no answer', async (peer) => {
    const raw = await peer.client();
    await raw.publish('quiet', 'x');
    await raw.ping();
    expect(raw.got).toEqual([]);
  });

  statement(
    'MQTT-3.3.1-5, 3.3.1-8, 3.3.1-9 what is retained comes with the flag to a new subscriber, without it to one that is there',
    async (peer) => {
      const topic = unique('kept/');
      const there = await peer.client();
      await there.subscribe(topic, 1);
      await there.publish(topic, 'x', { qos: 1, retain: true });
      expect((await there.messages(1))[0]?.retain).toBe(false);
      const late = await peer.client();
      await late.subscribe(topic, 1);
      expect((await late.messages(1))[0]).toMatchObject({ retain: true, qos: 1 });
    },
  );

  statement('MQTT-3.3.1-5, 3.3.1-7 the last one replaces those before it, whatever its QoS', async (peer) => {
    for (const qos of [0, 1, 2] as const) {
      const topic = unique('kept/');
      const sender = await peer.client();
      for (const payload of ['first', 'second', 'last']) await sender.publish(topic, payload, { qos, retain: true });
      await sender.ping();
      const late = await peer.client();
      await late.subscribe(topic, 2);
      const [one] = await late.messages(1);
      expect(one).toMatchObject({ retain: true, qos });
      expect(`${one?.payload}`).toBe('last');
      expect(await late.before()).toEqual([]);
    }
  });

  statement('MQTT-3.3.1-6 a new subscriber gets the retained message of every topic that matches', async (peer) => {
    const topic = unique('kept/');
    const sender = await peer.client();
    for (const name of ['a', 'b', 'c/d']) await sender.publish(`${topic}/${name}`, name, { qos: 1, retain: true });
    const late = await peer.client();
    await late.subscribe(`${topic}/#`, 1);
    expect((await late.messages(3)).map(text).sort()).toEqual(['a', 'b', 'c/d']);
  });

  statement('MQTT-3.3.1-10, 3.3.1-11 an empty retained message clears it, and is not retained itself', async (peer) => {
    const topic = unique('kept/');
    const sender = await peer.client();
    await sender.subscribe(topic, 1);
    await sender.publish(topic, 'x', { qos: 1, retain: true });
    await sender.publish(topic, '', { qos: 1, retain: true });
    // who is there gets it as any other
    expect((await sender.messages(2)).map(text)).toEqual(['x', '']);
    const late = await peer.client();
    await late.subscribe(topic, 1);
    expect(await late.before()).toEqual([]);
  });

  statement('MQTT-3.3.1-12 a message without the flag leaves the retained one as it is', async (peer) => {
    const topic = unique('kept/');
    const sender = await peer.client();
    await sender.publish(topic, 'kept', { qos: 1, retain: true });
    await sender.publish(topic, 'passing', { qos: 1 });
    await sender.publish(topic, '', { qos: 1 });
    const late = await peer.client();
    await late.subscribe(topic, 1);
    expect((await late.messages(1)).map(text)).toEqual(['kept']);
    expect(await late.before()).toEqual([]);
  });

  statement('MQTT-4.5.0-1 a publisher that subscribes gets its own messages', async (peer) => {
    const raw = await peer.client();
    const topic = unique('own/');
    await raw.subscribe(topic, 0);
    await raw.publish(topic, 'x');
    expect((await raw.messages(1))[0]?.topic).toBe(topic);
  });

  statement(
    'MQTT-3.3.5-2 what is not allowed is acknowledged and reaches nobody',
    async (peer) => {
      const watcher = await peer.client();
      await watcher.subscribe('secret/x', 1);
      const raw = await peer.client({ clientId: 'refused' });
      await raw.publish('secret/x', 'no', { qos: 1, retain: true });
      await raw.publish('secret/x', 'no', { qos: 2 });
      await raw.publish('secret/x', 'no');
      expect(await watcher.before()).toEqual([]);
    },
    { notMosquitto: '2.0.11 acknowledges and then closes' },
  );

  statement(
    'MQTT-3.3.5-2 a client cannot publish as the broker: $SYS',
    async (peer) => {
      const raw = await peer.client();
      const topic = '$SYS/broker/uptime';
      await raw.subscribe(topic, 1);
      await raw.publish(topic, 'forged', { qos: 1 });
      expect((await raw.before()).filter((one) => one.includes('forged'))).toEqual([]);
    },
    { notMosquitto: '2.0.11 acknowledges and then closes' },
  );
});

/** Sends ten messages in one segment; answers in the order of their identifiers. */
async function burst(raw: Raw, topic: string, qos: 1 | 2): Promise<void> {
  const first = qos === 1 ? 0x32 : 0x34;
  const packets = Array.from({ length: 10 }, (_, n) => packetOf(first, topic, 0, n + 1, Buffer.from(`${n}`)));
  raw.raw(Buffer.concat(packets));
  for (let n = 1; n <= 10; n++) expect((await raw.next(qos === 1 ? 'puback' : 'pubrec')).messageId).toBe(n);
  if (qos === 1) return;
  raw.raw(Buffer.concat(packets.map((_, n) => packetOf(0x62, 0, n + 1))));
  for (let n = 1; n <= 10; n++) expect((await raw.next('pubcomp')).messageId).toBe(n);
}

conformance('delivery', (statement) => {
  statement('MQTT-3.3.4-1, 4.3.2-2, 4.6.0-2 QoS 1 is acknowledged, in the order in which it came', async (peer) => {
    const raw = await peer.client();
    await burst(raw, unique('burst/'), 1);
  });

  statement('MQTT-4.3.3-2, 4.6.0-3 QoS 2 is received and completed in the order in which it came', async (peer) => {
    const raw = await peer.client();
    await burst(raw, unique('burst/'), 2);
  });

  statement('MQTT-4.3.3-2 QoS 2 sent again before PUBREL is answered again, and delivered once', async (peer) => {
    const raw = await peer.client();
    const topic = unique('once/');
    await raw.subscribe(topic, 1);
    for (const first of [0x34, 0x3c]) {
      raw.raw(packetOf(first, topic, 0, 5, Buffer.from('x')));
      expect((await raw.next('pubrec')).messageId).toBe(5);
    }
    raw.raw(packetOf(0x62, 0, 5));
    await raw.next('pubcomp');
    expect((await raw.before()).filter((one) => one === `${topic}=x`)).toHaveLength(1);
  });

  statement('MQTT-4.3.3-2 after PUBCOMP the same identifier is a new message', async (peer) => {
    const raw = await peer.client();
    const topic = unique('new/');
    await raw.subscribe(topic, 1);
    for (const payload of ['one', 'two']) await raw.publish(topic, payload, { qos: 2, messageId: 9 });
    expect((await raw.messages(2)).map(text)).toEqual(['one', 'two']);
  });

  statement('MQTT-4.3.3-2 PUBREL of an unknown identifier, and one sent again, is completed', async (peer) => {
    const raw = await peer.client();
    for (let n = 0; n < 2; n++) {
      raw.raw(packetOf(0x62, 0, 77));
      expect((await raw.next('pubcomp')).messageId).toBe(77);
    }
  });

  statement('MQTT-4.3.3-2 a handshake that was cut off goes on in the next connection of the session', async (peer) => {
    const clientId = unique('s');
    const topic = unique('cut/');
    const watcher = await peer.client();
    await watcher.subscribe(topic, 1);
    const first = await peer.client({ clientId, clean: false });
    first.raw(packetOf(0x34, topic, 0, 5, Buffer.from('x')));
    await first.next('pubrec');
    first.vanish();
    const second = await peer.client({ clientId, clean: false });
    second.raw(packetOf(0x3c, topic, 0, 5, Buffer.from('x')));
    expect((await second.next('pubrec')).messageId).toBe(5);
    second.raw(packetOf(0x62, 0, 5));
    await second.next('pubcomp');
    // one that was cut off gets through after PUBREL in some brokers only
    expect((await watcher.messages(1)).map(text)).toEqual(['x']);
    expect(await watcher.before()).toEqual([]);
  });

  statement('MQTT-4.3.2-1, 2.3.1-4 messages under way to a client have identifiers of their own', async (peer) => {
    const raw = await peer.client();
    const topic = unique('ids/');
    await raw.subscribe(topic, 2);
    const sender = await peer.client();
    for (let n = 0; n < 10; n++) await sender.publish(topic, `${n}`, { qos: n % 2 === 0 ? 1 : 2 });
    const ids = (await raw.messages(10, false)).map(({ messageId }) => messageId);
    expect(new Set(ids).size).toBe(10);
    expect(ids.every((id) => id !== undefined && id > 0)).toBe(true);
  });

  statement('MQTT-2.3.1-5 a message of QoS 0 comes without an identifier', async (peer) => {
    const raw = await peer.client();
    const topic = unique('none/');
    await raw.subscribe(topic, 1);
    await raw.publish(topic, 'x');
    await raw.messages(1);
    expect(raw.bytes.includes(packetOf(0x30, topic, Buffer.from('x')))).toBe(true);
  });

  statement('MQTT-4.3.2-2 after PUBACK the same identifier is a new message, DUP or not', async (peer) => {
    const raw = await peer.client();
    const topic = unique('new/');
    await raw.subscribe(topic, 1);
    const sender = await peer.client();
    for (const [text, dup] of [['a', false] as const, ['b', false] as const, ['c', true] as const]) {
      sender.send({ cmd: 'publish', topic, payload: text, qos: 1, retain: false, dup, messageId: 7 });
      expect((await sender.next('puback')).messageId).toBe(7);
    }
    expect((await raw.messages(3)).map(({ payload }) => `${payload}`)).toEqual(['a', 'b', 'c']);
  });

  statement('MQTT-4.6.0-4 PUBREL come in the order of the PUBREC that they answer', async (peer) => {
    const raw = await peer.client({ clientId: unique('s'), clean: false });
    const topic = unique('rel/');
    await raw.subscribe(topic, 2);
    const sender = await peer.client();
    for (let n = 0; n < 4; n++) await sender.publish(topic, `${n}`, { qos: 2 });
    const ids = (await raw.messages(4, false)).map(({ messageId = 0 }) => messageId);
    const order = [2, 0, 3, 1].map((at) => ids[at] ?? 0);
    raw.raw(...order.flatMap((messageId) => [0x50, 2, messageId >> 8, messageId & 255]));
    const released: number[] = [];
    while (released.length < 4) released.push((await raw.next('pubrel')).messageId ?? 0);
    expect(released).toEqual(order);
  });

  statement('MQTT-4.3.3-1 QoS 2 to a subscriber: PUBLISH, PUBREC, PUBREL, PUBCOMP', async (peer) => {
    const raw = await peer.client();
    const topic = unique('two/');
    await raw.subscribe(topic, 2);
    await raw.publish(topic, 'x', { qos: 2 });
    const [one] = await raw.messages(1, false);
    expect(one).toMatchObject({ qos: 2, dup: false });
    const messageId = one?.messageId ?? 0;
    raw.send({ cmd: 'pubrec', messageId });
    const pubrel = await raw.next('pubrel');
    expect(pubrel.messageId).toBe(messageId);
    // MQTT-3.6.1-1: the flags of PUBREL
    expect(raw.bytes.includes(Buffer.from([0x62, 2, messageId >> 8, messageId & 255]))).toBe(true);
    raw.send({ cmd: 'pubcomp', messageId });
    await raw.ping();
  });

  statement(
    'MQTT-4.4.0-1, 3.3.1-1, 4.6.0-1 what was not acknowledged comes again at the return, in order, with DUP and its identifier',
    async (peer) => {
      const clientId = unique('s');
      const topic = unique('back/');
      const first = await peer.client({ clientId, clean: false });
      await first.subscribe(topic, 2);
      const sender = await peer.client();
      for (let n = 0; n < 6; n++) await sender.publish(topic, `${n}`, { qos: n % 2 === 0 ? 1 : 2 });
      const before = await first.messages(6, false);
      first.vanish();
      const second = await peer.client({ clientId, clean: false });
      const after = await second.messages(6);
      expect(after.map((one) => [text(one), one.qos, one.messageId])).toEqual(
        before.map((one) => [text(one), one.qos, one.messageId]),
      );
      expect(after.every(({ dup }) => dup)).toBe(true);
      await second.disconnect();
      const third = await peer.client({ clientId, clean: false });
      expect(await third.before()).toEqual([]);
    },
  );

  statement(
    'MQTT-4.4.0-1, 4.3.3-1 a PUBREL that was not completed comes again at the return, the message does not',
    async (peer) => {
      const clientId = unique('s');
      const topic = unique('rel/');
      const first = await peer.client({ clientId, clean: false });
      await first.subscribe(topic, 2);
      await first.publish(topic, 'x', { qos: 2 });
      const messageId = (await first.messages(1, false))[0]?.messageId ?? 0;
      first.send({ cmd: 'pubrec', messageId });
      await first.next('pubrel');
      first.vanish();
      const second = await peer.client({ clientId, clean: false });
      expect((await second.next('pubrel')).messageId).toBe(messageId);
      second.send({ cmd: 'pubcomp', messageId });
      expect(await second.before()).toEqual([]);
    },
  );

  statement('MQTT-3.1.2-5 a session that is away gets QoS 1 and 2 later, in order', async (peer) => {
    const clientId = unique('s');
    const topic = unique('away/');
    const first = await peer.client({ clientId, clean: false });
    await first.subscribe(`${topic}/+`, 2);
    await first.disconnect();
    const sender = await peer.client();
    for (let n = 0; n < 20; n++) await sender.publish(`${topic}/${n % 3}`, `${n}`, { qos: n % 2 === 0 ? 1 : 2 });
    const second = await peer.client({ clientId, clean: false });
    const got = await second.messages(20);
    expect(got.map(text)).toEqual(Array.from({ length: 20 }, (_, n) => `${n}`));
    expect(got.map(({ qos }) => qos)).toEqual(Array.from({ length: 20 }, (_, n) => (n % 2 === 0 ? 1 : 2)));
    expect(got.some(({ dup }) => dup)).toBe(false);
  });

  statement('MQTT-4.5.0-1, 4.6.0-5, 4.6.0-6 a topic is ordered, for every QoS and every subscriber', async (peer) => {
    const topic = unique('order/');
    const subscribers = await Promise.all([0, 1, 2].map(() => peer.client()));
    for (const [qos, raw] of subscribers.entries()) await raw.subscribe(topic, qos as 0 | 1 | 2);
    const sender = await peer.client();
    for (const qos of [0, 1, 2] as const) {
      for (let n = 0; n < 15; n++) await sender.publish(topic, `${n}`, { qos });
      for (const raw of subscribers) {
        expect((await raw.messages(15)).map(text)).toEqual(Array.from({ length: 15 }, (_, n) => `${n}`));
      }
    }
  });

  statement(
    'MQTT-4.1.0-1, 4.3.2-2, 3.1.2-4 after a kill -9 no acknowledged message, subscription, retained message or handshake is lost',
    async (peer) => {
      const clientId = unique('s');
      const topic = unique('kill/');
      const away = await peer.client({ clientId, clean: false });
      await away.subscribe(`${topic}/#`, 2);
      await away.disconnect();
      const sender = await peer.client({ clientId: `${clientId}p`, clean: false });
      await sender.publish(`${topic}/1`, 'one', { qos: 1 });
      await sender.publish(`${topic}/2`, 'two', { qos: 2, retain: true });
      sender.raw(packetOf(0x34, `${topic}/3`, 0, 9, Buffer.from('three')));
      await sender.next('pubrec');
      await peer.crash();
      const again = await peer.client({ clientId: `${clientId}p`, clean: false });
      again.raw(packetOf(0x3c, `${topic}/3`, 0, 9, Buffer.from('three')));
      await again.next('pubrec');
      again.raw(packetOf(0x62, 0, 9));
      await again.next('pubcomp');
      const { raw: back, connack } = await peer.connect({ clientId, clean: false });
      expect(connack.sessionPresent).toBe(true);
      expect((await back.messages(3)).map(text)).toEqual(['one', 'two', 'three']);
      expect(await back.before()).toEqual([]);
      const late = await peer.client();
      await late.subscribe(`${topic}/2`, 1);
      expect((await late.messages(1)).map(text)).toEqual(['two']);
    },
    { notMosquitto: 'saves its store every half an hour' },
  );
});
