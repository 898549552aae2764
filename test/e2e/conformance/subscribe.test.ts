import { expect } from 'vitest';
import { conformance, type Peer } from './peers.ts';
import { packetOf, unique } from './raw.ts';

async function isCut(peer: Peer, bytes: Buffer): Promise<void> {
  const raw = await peer.client();
  raw.raw(bytes);
  await raw.closed();
  expect(raw.got).toEqual([]);
}

/** Filters with a topic that they match, or (false) do not match: MQTT 3.1.1 §4.7. */
const table: readonly (readonly [string, string, boolean])[] = [
  ['sport/tennis/player1/#', 'sport/tennis/player1', true],
  ['sport/tennis/player1/#', 'sport/tennis/player1/ranking', true],
  ['sport/tennis/player1/#', 'sport/tennis/player1/score/wimbledon', true],
  ['sport/tennis/player1/#', 'sport/tennis/player2', false],
  ['sport/#', 'sport', true],
  ['#', 'sport/a', true],
  ['#', '/', true],
  ['sport/tennis/+', 'sport/tennis/player1', true],
  ['sport/tennis/+', 'sport/tennis/player1/ranking', false],
  ['sport/+', 'sport', false],
  ['sport/+', 'sport/', true],
  ['+', 'finance', true],
  ['+', '/finance', false],
  ['+/+', '/finance', true],
  ['/+', '/finance', true],
  ['+/tennis/#', 'sport/tennis', true],
  ['+/tennis/#', 'sport/tennis/a/b', true],
  ['sport/+/player1', 'sport/tennis/player1', true],
  ['sport/+/player1', 'sport//player1', true],
  ['ACCOUNTS', 'Accounts', false],
  ['a b', 'a b', true],
  ['/a', 'a', false],
  ['a/', 'a', false],
  ['a//b', 'a/b', false],
  ['+/+/#', 'a/b', true],
  ['+/+/#', 'a', false],
  ['#', '$other/a', false],
  ['+/a', '$other/a', false],
  ['+/#', '$other/a', false],
  ['$other/#', '$other/a', true],
  ['$other/+', '$other/a', true],
  ['a/+/$x', 'a/b/$x', true],
  ['a/+', 'a/$x', true],
];

conformance('SUBSCRIBE and UNSUBSCRIBE', (statement) => {
  statement('MQTT-3.8.3-1 a filter that is no UTF-8 ends the connection', async (peer) => {
    await isCut(peer, packetOf(0x82, 0, 1, 0, 2, 0xff, 0xfe, 0));
  });

  statement('MQTT-3.8.3-3 SUBSCRIBE without a filter ends the connection', async (peer) => {
    await isCut(peer, packetOf(0x82, 0, 1));
  });

  statement('MQTT-3-8.3-4 QoS 3 or a reserved bit in SUBSCRIBE ends the connection', async (peer) => {
    for (const qos of [3, 4, 0x80, 0xfd]) await isCut(peer, packetOf(0x82, 0, 1, 'a', qos));
    await isCut(peer, packetOf(0x82, 0, 1, 'a', 0, 'b', 3));
  });

  statement('MQTT-4.7.3-1 an empty filter ends the connection', async (peer) => {
    await isCut(peer, packetOf(0x82, 0, 1, '', 0));
  });

  statement('MQTT-4.7.1-2, 4.7.1-3 a filter with a wildcard in a wrong place ends the connection', async (peer) => {
    for (const filter of ['a#', 'a/#/b', '#/a', '##', 'a+', '+a', 'a/b+', 'a/+b/c', '++', 'a/b#']) {
      await isCut(peer, packetOf(0x82, 0, 1, filter, 0));
    }
  });

  statement('MQTT-3.8.4-1, 3.8.4-2 SUBSCRIBE is answered by a SUBACK with its identifier', async (peer) => {
    const raw = await peer.client();
    raw.raw(packetOf(0x82, 0x12, 0x34, 'a', 1));
    expect(await raw.next('suback')).toMatchObject({ messageId: 0x1234, granted: [1] });
  });

  statement(
    'MQTT-3.8.4-4, 3.8.4-5, 3.9.3-1 many filters: one SUBACK, a code for each, in their order',
    async (peer) => {
      const raw = await peer.client();
      const filters = [2, 0, 1, 0, 2].map((qos, at) => ({ topic: `many/${at}`, qos: qos as 0 | 1 | 2 }));
      expect(await raw.subscribeAll(filters)).toEqual([2, 0, 1, 0, 2]);
    },
  );

  statement(
    'MQTT-3.8.4-4, 3.8.4-5 the same filter twice in one SUBSCRIBE has a code each; the last one counts',
    async (peer) => {
      const raw = await peer.client();
      const topic = unique('twice/');
      expect(
        await raw.subscribeAll([
          { topic, qos: 2 },
          { topic, qos: 0 },
        ]),
      ).toEqual([2, 0]);
      await raw.publish(topic, 'x', { qos: 1 });
      const [one] = await raw.messages(1);
      expect(one?.qos).toBe(0);
    },
  );

  statement(
    'MQTT-3.9.3-2 a refused filter has 0x80, the others their QoS',
    async (peer) => {
      const raw = await peer.client({ clientId: 'refused' });
      const filters = ['fine/1', 'secret/x', 'fine/2'].map((topic) => ({ topic, qos: 1 as const }));
      expect(await raw.subscribeAll(filters)).toEqual([1, 128, 1]);
    },
    { notMosquitto: 'grants, and delivers nothing' },
  );

  statement(
    'a shared subscription, which 3.1.1 does not know, is refused with 0x80 and not granted in vain',
    async (peer) => {
      const raw = await peer.client();
      expect(await raw.subscribe('$share/group/a', 1)).toBe(128);
      await raw.ping();
    },
    { notMosquitto: 'has them for 3.1.1, too' },
  );

  statement(
    'MQTT-3.8.4-3 the same filter again replaces the subscription, and its retained messages come again',
    async (peer) => {
      const raw = await peer.client();
      const topic = unique('again/');
      await raw.publish(topic, 'kept', { qos: 1, retain: true });
      await raw.subscribe(topic, 1);
      expect((await raw.messages(1))[0]).toMatchObject({ retain: true, qos: 1 });
      await raw.subscribe(topic, 0);
      expect((await raw.messages(1))[0]).toMatchObject({ retain: true, qos: 0 });
      await raw.subscribe(topic, 0);
      expect((await raw.messages(1))[0]).toMatchObject({ retain: true, qos: 0 });
      await raw.publish(topic, 'live', { qos: 1 });
      expect((await raw.messages(1))[0]).toMatchObject({ retain: false, qos: 0 });
      expect(await raw.before()).toEqual([]);
    },
  );

  statement(
    'MQTT-3.8.4-6 the QoS delivered is the lower of publication and subscription, all nine cases',
    async (peer) => {
      const raw = await peer.client();
      const sender = await peer.client();
      for (const granted of [0, 1, 2] as const) {
        for (const published of [0, 1, 2] as const) {
          const topic = unique('lower/');
          await raw.subscribe(topic, granted);
          await sender.publish(topic, 'x', { qos: published });
          expect((await raw.messages(1))[0]?.qos, `${granted}/${published}`).toBe(Math.min(granted, published));
        }
      }
    },
  );

  statement('MQTT-3.8.4-6 the same through a wildcard, and for retained messages', async (peer) => {
    const raw = await peer.client();
    const sender = await peer.client();
    for (const granted of [0, 1, 2] as const) {
      for (const published of [0, 1, 2] as const) {
        const topic = unique('wild/');
        await sender.publish(`${topic}/a`, 'kept', { qos: published, retain: true });
        await raw.subscribe(`${topic}/+`, granted);
        expect((await raw.messages(1))[0]).toMatchObject({ retain: true, qos: Math.min(granted, published) });
        await sender.publish(`${topic}/b`, 'live', { qos: published });
        expect((await raw.messages(1))[0]).toMatchObject({ retain: false, qos: Math.min(granted, published) });
      }
    }
  });

  statement('MQTT-3.3.5-1 overlapping subscriptions: the message comes with the highest QoS of them', async (peer) => {
    const raw = await peer.client();
    const sender = await peer.client();
    const topic = unique('overlap/');
    await raw.subscribeAll([
      { topic: `${topic}/#`, qos: 0 },
      { topic: `${topic}/a`, qos: 2 },
      { topic: `${topic}/+`, qos: 1 },
    ]);
    for (const qos of [2, 1, 0] as const) {
      await sender.publish(`${topic}/a`, `q${qos}`, { qos });
      const [one] = await raw.messages(1);
      expect(one).toMatchObject({ qos });
    }
    await sender.publish(`${topic}/b`, 'b', { qos: 2 });
    expect((await raw.messages(1))[0]?.qos).toBe(1);
  });

  statement(
    'MQTT-3.3.2-3, 4.5.0-1, 4.7.1-2, 4.7.1-3, 4.7.2-1, 4.7.3-4 every filter of the table matches as the standard has it',
    async (peer) => {
      const sender = await peer.client();
      for (const [filter, topic, matches] of table) {
        const raw = await peer.client();
        await raw.subscribe(filter, 1);
        await sender.publish(topic, 'x', { qos: 1 });
        const seen = (await raw.before()).filter((text) => text === `${topic}=x`);
        expect(seen.length, `${filter} and ${topic}`).toBe(matches ? 1 : 0);
        raw.vanish();
      }
    },
    { timeout: 40_000 },
  );

  statement(
    'MQTT-3.3.1-6, 4.7.2-1, 4.7.3-4 the table holds for retained messages, too',
    async (peer) => {
      const sender = await peer.client();
      for (const [filter, topic, matches] of table) {
        await sender.publish(topic, 'kept', { qos: 1, retain: true });
        const raw = await peer.client();
        await raw.subscribe(filter, 1);
        if (matches) {
          for (;;) if ((await raw.messages(1))[0]?.topic === topic) break;
        } else {
          expect(
            (await raw.before()).filter((text) => text.startsWith(`${topic}=`)),
            `${filter} and ${topic}`,
          ).toEqual([]);
        }
        await sender.publish(topic, '', { qos: 1, retain: true });
        raw.vanish();
      }
    },
    { timeout: 40_000 },
  );

  statement('MQTT-4.7.3-3 a topic may be of 65535 bytes', async (peer) => {
    const raw = await peer.client();
    const topic = 'x'.repeat(65_535);
    await raw.subscribe('+', 0);
    await raw.publish(topic, 'long');
    expect((await raw.messages(1))[0]?.topic.length).toBe(65_535);
  });

  statement(
    'MQTT-4.7.2-1 wildcards at the beginning do not match $ topics: nothing of $SYS comes for # and +',
    async (peer) => {
      const raw = await peer.client();
      await raw.subscribe('#', 0);
      await raw.subscribe('+/broker/#', 0);
      expect((await raw.before()).filter((text) => text.startsWith('$'))).toEqual([]);
    },
  );

  statement('MQTT-3.10.3-2 UNSUBSCRIBE without a filter ends the connection', async (peer) => {
    await isCut(peer, packetOf(0xa2, 0, 1));
  });

  statement('MQTT-3.10.4-1, 3.10.4-2 UNSUBSCRIBE ends what has exactly that filter, and no other', async (peer) => {
    const raw = await peer.client();
    const topic = unique('un/');
    await raw.subscribeAll([
      { topic: `${topic}/a`, qos: 1 },
      { topic: `${topic}/+`, qos: 1 },
    ]);
    await raw.unsubscribe(`${topic}/#`);
    await raw.unsubscribe(`${topic}/a`);
    await raw.publish(`${topic}/a`, 'one', { qos: 1 });
    expect((await raw.before()).filter((text) => text === `${topic}/a=one`)).toHaveLength(1);
    await raw.unsubscribe(`${topic}/+`);
    await raw.publish(`${topic}/a`, 'two', { qos: 1 });
    expect((await raw.before()).filter((text) => text.endsWith('two'))).toEqual([]);
  });

  statement('MQTT-3.10.4-4, 3.10.4-5 UNSUBSCRIBE is answered also where nothing was subscribed to', async (peer) => {
    const raw = await peer.client();
    raw.raw(packetOf(0xa2, 0xab, 0xcd, 'never'));
    expect((await raw.next('unsuback')).messageId).toBe(0xabcd);
  });

  statement('MQTT-3.10.4-6 UNSUBSCRIBE with many filters is as many with one each, with one UNSUBACK', async (peer) => {
    const raw = await peer.client();
    const topics = ['a', 'b', 'c'].map((name) => `${unique('un/')}/${name}`);
    await raw.subscribeAll(topics.map((topic) => ({ topic, qos: 1 as const })));
    await raw.unsubscribe(...topics);
    for (const topic of topics) await raw.publish(topic, 'x', { qos: 1 });
    expect(await raw.before()).toEqual([]);
    expect(raw.got.filter(({ cmd }) => cmd === 'unsuback')).toEqual([]);
  });

  statement('MQTT-3.10.4-2 a session that has unsubscribed gets nothing more, after it was away, too', async (peer) => {
    const clientId = unique('s');
    const topic = unique('un/');
    const raw = await peer.client({ clientId, clean: false });
    await raw.subscribe(topic, 1);
    await raw.unsubscribe(topic);
    await raw.disconnect();
    const sender = await peer.client();
    await sender.publish(topic, 'x', { qos: 1 });
    const back = await peer.client({ clientId, clean: false });
    expect(await back.before()).toEqual([]);
  });

  statement('MQTT-3.10.4-3 what is under way is delivered to its end after UNSUBSCRIBE', async (peer) => {
    const clientId = unique('s');
    const topic = unique('un/');
    const raw = await peer.client({ clientId, clean: false });
    await raw.subscribe(topic, 2);
    const sender = await peer.client();
    await sender.publish(topic, 'two', { qos: 2 });
    await sender.publish(topic, 'one', { qos: 1 });
    const [two, one] = await raw.messages(2, false);
    await raw.unsubscribe(topic);
    raw.send({ cmd: 'pubrec', messageId: two?.messageId ?? 0 });
    expect((await raw.next('pubrel')).messageId).toBe(two?.messageId);
    raw.send({ cmd: 'pubcomp', messageId: two?.messageId ?? 0 });
    await raw.ping();
    raw.vanish();
    const back = await peer.client({ clientId, clean: false });
    expect(await back.messages(1)).toMatchObject([{ messageId: one?.messageId, dup: true, qos: 1 }]);
    expect(await back.before()).toEqual([]);
  });

  statement('MQTT-3.8.4-3 a change of its QoS interrupts nothing: what waits comes, too', async (peer) => {
    const raw = await peer.client({ clientId: unique('s'), clean: false });
    const topic = unique('flow/');
    await raw.subscribe(topic, 1);
    const sender = await peer.client();
    for (let n = 0; n < 30; n++) await sender.publish(topic, `${n}`, { qos: 1 });
    await raw.subscribe(topic, 0);
    const texts = (await raw.messages(30)).map(({ payload }) => `${payload}`);
    expect(texts).toEqual(Array.from({ length: 30 }, (_, n) => `${n}`));
  });
});
