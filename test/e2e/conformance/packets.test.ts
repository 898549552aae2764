import { expect } from 'vitest';
import { conformance, type Peer } from './peers.ts';
import { bytesOf, connectOf, packetOf, unique } from './raw.ts';

/** Sends the bytes on a connection that is logged in, and expects it to be cut without an answer. */
async function isCut(peer: Peer, bytes: Buffer): Promise<void> {
  const raw = await peer.client();
  raw.raw(bytes);
  await raw.closed();
  expect(raw.got).toEqual([]);
}

const malformed = Buffer.from([0xc3, 0x28]);
const surrogate = Buffer.from([0xed, 0xa0, 0x80]);
const overlong = Buffer.from([0xc0, 0xaf]);
const lengthed = (bytes: Buffer) => bytesOf(bytes.length >> 8, bytes.length & 255, bytes);

conformance('the format of packets', (statement) => {
  statement('MQTT 3.1.1 §2.2.1 the reserved packet types 0 and 15 end the connection', async (peer) => {
    for (const type of [0x00, 0xf0]) await isCut(peer, packetOf(type));
    await isCut(peer, packetOf(0xf0, 0, 0));
  });

  statement(
    'MQTT-4.8.0-1 packets that only a server sends end the connection',
    async (peer) => {
      await isCut(peer, packetOf(0x20, 0, 0));
      await isCut(peer, packetOf(0x90, 0, 1, 0));
      await isCut(peer, packetOf(0xb0, 0, 1));
      await isCut(peer, packetOf(0xd0));
    },
    { notMosquitto: 'takes SUBACK, UNSUBACK and PINGRESP' },
  );

  statement('MQTT 3.1.1 §2.2.1 reserved packet types end the connection before CONNECT, too', async (peer) => {
    for (const type of [0x00, 0xf0, 0x20]) {
      const raw = peer.dial();
      raw.raw(packetOf(type, 0, 0));
      await raw.closed();
      expect([...raw.bytes]).toEqual([]);
    }
  });

  statement('MQTT-2.2.2-1, 2.2.2-2 reserved flags other than as listed end the connection: CONNECT', async (peer) => {
    for (const flags of [1, 2, 4, 8, 15]) {
      const raw = peer.dial();
      const connect = connectOf();
      connect[0] = 0x10 | flags;
      raw.raw(connect);
      await raw.closed();
      expect([...raw.bytes]).toEqual([]);
    }
  });

  statement('MQTT-2.2.2-2, 3.6.1-1 reserved flags in PUBREL end the connection', async (peer) => {
    for (const flags of [0, 1, 3, 10]) await isCut(peer, packetOf(0x60 | flags, 0, 1));
  });

  statement('MQTT-2.2.2-2, 3.8.1-1 reserved flags in SUBSCRIBE end the connection', async (peer) => {
    for (const flags of [0, 1, 3, 6, 10]) await isCut(peer, packetOf(0x80 | flags, 0, 1, 'a', 0));
  });

  statement('MQTT-2.2.2-2, 3.10.1-1 reserved flags in UNSUBSCRIBE end the connection', async (peer) => {
    for (const flags of [0, 1, 3, 6, 10]) await isCut(peer, packetOf(0xa0 | flags, 0, 1, 'a'));
  });

  statement(
    'MQTT-2.2.2-2 reserved flags in PINGREQ end the connection',
    async (peer) => {
      for (const flags of [1, 8]) await isCut(peer, packetOf(0xc0 | flags));
    },
    { notMosquitto: 'does not look at them' },
  );

  statement(
    'MQTT-2.2.2-2 reserved flags in PUBACK, PUBREC and PUBCOMP end the connection',
    async (peer) => {
      for (const type of [0x41, 0x48, 0x52, 0x78]) await isCut(peer, packetOf(type, 0, 1));
    },
    { notMosquitto: 'does not look at them' },
  );

  statement('MQTT 3.1.1 §2.2.3 a remaining length of more than four bytes ends the connection', async (peer) => {
    await isCut(peer, Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x01]));
    const raw = peer.dial();
    raw.raw(0x10, 0xff, 0xff, 0xff, 0xff, 0x01);
    await raw.closed();
  });

  statement(
    'MQTT-2.3.1-1 SUBSCRIBE, UNSUBSCRIBE and PUBLISH with packet identifier 0 end the connection',
    async (peer) => {
      await isCut(peer, packetOf(0x82, 0, 0, 'a', 0));
      await isCut(peer, packetOf(0xa2, 0, 0, 'a'));
      await isCut(peer, packetOf(0x32, 'a', 0, 0));
      await isCut(peer, packetOf(0x34, 'a', 0, 0));
    },
  );

  statement('MQTT-2.3.1-6, 4.8.0-1 acknowledgements with packet identifier 0 end the connection', async (peer) => {
    for (const type of [0x40, 0x50, 0x62, 0x70]) await isCut(peer, packetOf(type, 0, 0));
  });

  statement(
    'MQTT-2.3.1-6, 2.3.1-7 an answer has the packet identifier of what it answers, up to 65535',
    async (peer) => {
      const raw = await peer.client();
      for (const id of [1, 255, 256, 65_535]) {
        const [high, low] = [id >> 8, id & 255];
        raw.raw(packetOf(0x82, high, low, 'ids', 0));
        expect((await raw.next('suback')).messageId).toBe(id);
        raw.raw(packetOf(0xa2, high, low, 'ids'));
        expect((await raw.next('unsuback')).messageId).toBe(id);
        raw.raw(packetOf(0x32, 'ids', high, low));
        expect((await raw.next('puback')).messageId).toBe(id);
        raw.raw(packetOf(0x34, 'ids', high, low));
        expect((await raw.next('pubrec')).messageId).toBe(id);
        raw.raw(packetOf(0x62, high, low));
        expect((await raw.next('pubcomp')).messageId).toBe(id);
      }
    },
  );

  statement('MQTT-4.8.0-1 a packet that is cut off inside ends the connection', async (peer) => {
    await isCut(peer, packetOf(0x30));
    await isCut(peer, packetOf(0x30, 0));
    await isCut(peer, packetOf(0x30, 0, 5, 0x61));
    await isCut(peer, packetOf(0x32, 'a'));
    await isCut(peer, packetOf(0x32, 'a', 1));
    await isCut(peer, packetOf(0x82, 1));
    await isCut(peer, packetOf(0x82, 0, 1, 0, 9, 0x61));
    await isCut(peer, packetOf(0x82, 0, 1, 'a'));
    await isCut(peer, packetOf(0xa2, 0, 1, 0, 9, 0x61));
    for (const type of [0x40, 0x50, 0x62, 0x70]) await isCut(peer, packetOf(type, 1));
  });

  statement(
    'MQTT-4.8.0-1 a packet that is longer than it may be ends the connection',
    async (peer) => {
      for (const type of [0x40, 0x50, 0x62, 0x70]) await isCut(peer, packetOf(type, 0, 1, 0));
      await isCut(peer, packetOf(0xc0, 0));
      await isCut(peer, packetOf(0xe0, 0));
    },
    { notMosquitto: 'leaves the rest of it unread' },
  );

  statement('MQTT-1.5.3-1, 3.3.2-1 ill-formed UTF-8 in a topic ends the connection', async (peer) => {
    for (const wrong of [malformed, surrogate, overlong]) {
      const text = lengthed(wrong);
      await isCut(peer, packetOf(0x30, text));
      await isCut(peer, packetOf(0x82, 0, 1, text, 0));
    }
  });

  statement('MQTT-1.5.3-1, 3.10.3-1 ill-formed UTF-8 in UNSUBSCRIBE ends the connection', async (peer) => {
    for (const wrong of [malformed, surrogate]) await isCut(peer, packetOf(0xa2, 0, 1, lengthed(wrong)));
  });

  statement('MQTT-1.5.3-2, 4.7.3-2 U+0000 in a topic, filter or client id ends the connection', async (peer) => {
    const text = bytesOf('a\u0000b');
    await isCut(peer, packetOf(0x30, text));
    await isCut(peer, packetOf(0x82, 0, 1, text, 0));
    const raw = peer.dial();
    raw.raw(connectOf({ clientId: text }));
    await raw.closed();
    expect([...raw.bytes]).toEqual([]);
  });

  statement('MQTT-1.5.3-3 U+FEFF is a character like others, at the beginning too', async (peer) => {
    const raw = await peer.client();
    const topic = `\uFEFF${unique('bom')}/\uFEFF`;
    await raw.subscribe(topic);
    await raw.publish(topic.slice(1), 'without');
    await raw.publish(topic, 'with');
    const [one] = await raw.messages(1);
    expect([one?.topic, `${one?.payload}`]).toEqual([topic, 'with']);
  });

  statement('MQTT 3.1.1 §1.5.3 characters of two, three and four bytes go through unchanged', async (peer) => {
    const raw = await peer.client();
    const topic = `ä/汉/😀/${unique('u')}`;
    await raw.subscribe(topic, 1);
    await raw.publish(topic, topic, { qos: 1 });
    const [one] = await raw.messages(1);
    expect([one?.topic, `${one?.payload}`]).toEqual([topic, topic]);
  });

  statement('packets that come a byte at a time, or many in one segment, are the same packets', async (peer) => {
    const raw = peer.dial();
    const topic = unique('split/');
    const all = Buffer.concat([
      connectOf(),
      packetOf(0x82, 0, 1, topic, 1),
      packetOf(0x32, topic, 0, 2, Buffer.from('one')),
      packetOf(0x30, topic, Buffer.from('two')),
      bytesOf(0xc0, 0),
    ]);
    for (const byte of all) {
      raw.raw(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await raw.next('pingresp');
    await raw.next('puback');
    const texts = (await raw.messages(2)).map(({ payload }) => `${payload}`);
    expect(texts.sort()).toEqual(['one', 'two']);
  });

  statement(
    'a packet above the limit, announced before login or after it, ends the connection before it comes',
    async (peer) => {
      const huge = [0xff, 0xff, 0xff, 0x7f];
      const stranger = peer.dial();
      stranger.raw(0x10, ...huge);
      await stranger.closed();
      await isCut(peer, bytesOf(0x30, ...huge));
      // a CONNECT of 9000 bytes without a will: its flags are enough
      const wordy = peer.dial();
      wordy.raw(0x10, 0xa8, 0x46, 'MQTT', 4, 0xc2, 0, 0);
      await wordy.closed();
      expect([...wordy.bytes]).toEqual([]);
    },
    { notMosquitto: 'has no limit unless told, and none before login' },
  );

  statement(
    'what is not MQTT is cut off at its first byte',
    async (peer) => {
      const raw = peer.dial();
      raw.raw(0x47);
      await raw.closed();
    },
    { notMosquitto: 'waits for the rest' },
  );
});
