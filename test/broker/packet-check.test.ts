import fc from 'fast-check';
import * as mqttPacket from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import { bodyProblem, headerProblem, protocolOf } from '../../src/broker/packet-check.ts';

/** First byte and body of a packet that is well-formed. */
function split(packet: mqttPacket.Packet): { first: number; body: Buffer } {
  const bytes = mqttPacket.generate(packet);
  let at = 1;
  while ((bytes.readUInt8(at) & 128) !== 0) at += 1;
  return { first: bytes.readUInt8(0), body: bytes.subarray(at + 1) };
}

const text = fc
  .string({ minLength: 1, maxLength: 20, unit: 'grapheme' })
  .filter((one) => !/[+#]/.test(one) && !one.includes('\u0000') && one.isWellFormed());
const qos = fc.constantFrom(0 as const, 1 as const, 2 as const);
const id = fc.integer({ min: 1, max: 65_535 });
const will = fc.record({
  topic: text,
  payload: fc.uint8Array({ maxLength: 20 }).map(Buffer.from),
  qos,
  retain: fc.boolean(),
});

const packet: fc.Arbitrary<mqttPacket.Packet> = fc.oneof(
  fc
    .record({
      clientId: text,
      will: fc.option(will, { nil: undefined }),
      username: fc.option(text, { nil: undefined }),
    })
    .map(
      ({ clientId, will: last, username }): mqttPacket.Packet => ({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: 4,
        clean: true,
        keepalive: 3,
        clientId,
        ...(last === undefined ? {} : { will: last }),
        ...(username === undefined ? {} : { username, password: Buffer.from([0, 1, 255]) }),
      }),
    ),
  fc
    .record({ topic: text, qos, messageId: id, retain: fc.boolean() })
    .map((given): mqttPacket.Packet => ({ cmd: 'publish', dup: false, payload: Buffer.from([255, 0]), ...given })),
  fc
    .array(fc.record({ topic: text, qos }), { minLength: 1, maxLength: 5 })
    .chain((subscriptions) =>
      id.map((messageId): mqttPacket.Packet => ({ cmd: 'subscribe', messageId, subscriptions })),
    ),
  fc
    .array(text, { minLength: 1, maxLength: 5 })
    .chain((unsubscriptions) =>
      id.map((messageId): mqttPacket.Packet => ({ cmd: 'unsubscribe', messageId, unsubscriptions })),
    ),
  id.chain((messageId) =>
    fc
      .constantFrom('puback' as const, 'pubrec' as const, 'pubrel' as const, 'pubcomp' as const)
      .map((cmd): mqttPacket.Packet => ({ cmd, messageId })),
  ),
  fc.constantFrom<mqttPacket.Packet>({ cmd: 'pingreq' }, { cmd: 'disconnect' }),
);

describe('the check of packets', () => {
  it('lets every well-formed packet through', () => {
    fc.assert(
      fc.property(packet, (one) => {
        const { first, body } = split(one);
        const level = one.cmd === 'connect' ? 0 : 4;
        expect(headerProblem(first, level)).toBeUndefined();
        expect(bodyProblem(first, body)).toBeUndefined();
      }),
    );
  });

  it('refuses every packet that is cut off or too long, but for a payload', () => {
    fc.assert(
      fc.property(packet, fc.nat(), (one, at) => {
        const { first, body } = split(one);
        if (one.cmd === 'publish' || body.length === 0) return;
        expect(bodyProblem(first, Buffer.concat([body, Buffer.from([0])]))).toBeDefined();
        // a list may end after any whole filter
        if (one.cmd === 'subscribe' || one.cmd === 'unsubscribe') return;
        expect(bodyProblem(first, body.subarray(0, at % body.length))).toBeDefined();
      }),
    );
  });

  it('never throws, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(255), fc.constantFrom(0, 3, 4), (bytes, first, level) => {
        headerProblem(first, level);
        bodyProblem(first, Buffer.from(bytes));
        protocolOf(Buffer.from(bytes));
      }),
      { numRuns: 2_000 },
    );
  });

  it('tells the protocol as soon as enough is there, and no sooner', () => {
    const body = Buffer.from([0, 4, 0x4d, 0x51, 0x54, 0x54, 5, 2, 0, 0]);
    expect([0, 1, 2, 6].map((length) => protocolOf(body.subarray(0, length)))).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    expect(protocolOf(body.subarray(0, 7))).toEqual({ level: 5, acceptable: false, flags: undefined });
    expect(protocolOf(body)).toEqual({ level: 5, acceptable: false, flags: 2 });
    expect(protocolOf(Buffer.from('GET / HTTP'))).toBe('unknown');
  });
});
