import { generate, parse } from 'coap-packet';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decode, encode, Message } from '../../src/coap/index.ts';

const seed = 20260101;

const parts = fc.record({
  type: fc.integer({ min: 0, max: 3 }),
  code: fc.constantFrom(1, 2, 3, 4, 5, 31, 65, 68, 69, 95, 128, 132, 141, 160, 163),
  messageId: fc.integer({ min: 0, max: 0xffff }),
  token: fc.uint8Array({ maxLength: 8 }),
  options: fc.array(
    fc.tuple(
      fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 0xffff })),
      fc.oneof(fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ minLength: 250, maxLength: 600 })),
    ),
    { maxLength: 8 },
  ),
  payload: fc.uint8Array({ maxLength: 100 }),
});

function optionsOf(message: Message): [number, string][] {
  const options: [number, string][] = [];
  for (let at = 0; at < message.options.length; at += 3) {
    const [number, start, end] = message.options.slice(at, at + 3) as [number, number, number];
    options.push([number, message.datagram.subarray(start, end).toString('hex')]);
  }
  return options;
}

function sorted(options: readonly (readonly [number, Uint8Array])[]): [number, string][] {
  return [...options]
    .sort(([a], [b]) => a - b)
    .map(([number, value]): [number, string] => [number, Buffer.from(value).toString('hex')]);
}

describe('the codec', () => {
  it('reads what it wrote', () => {
    fc.assert(
      fc.property(parts, (given) => {
        const message = decode(encode(given));
        if (!(message instanceof Message)) throw new Error(message.problem);
        expect(message.type).toBe(given.type);
        expect(message.code).toBe(given.code);
        expect(message.messageId).toBe(given.messageId);
        expect(message.token.equals(given.token)).toBe(true);
        expect(message.payload.equals(given.payload)).toBe(true);
        expect(optionsOf(message)).toEqual(sorted(given.options));
      }),
      { seed, numRuns: 500 },
    );
  });

  it('writes what coap-packet reads', () => {
    fc.assert(
      fc.property(parts, (given) => {
        const packet = parse(encode(given));
        expect(packet.messageId).toBe(given.messageId);
        expect([packet.confirmable, packet.ack, packet.reset]).toEqual([
          given.type === 0,
          given.type === 2,
          given.type === 3,
        ]);
        expect(packet.code).toBe(`${given.code >> 5}.${String(given.code & 31).padStart(2, '0')}`);
        expect(packet.token.equals(given.token)).toBe(true);
        expect(packet.payload.equals(given.payload)).toBe(true);
        expect(packet.options.map(({ value }) => value.toString('hex'))).toEqual(
          sorted(given.options).map(([, value]) => value),
        );
      }),
      { seed, numRuns: 500 },
    );
  });

  it('reads what coap-packet writes', () => {
    fc.assert(
      fc.property(parts, (given) => {
        const datagram = generate(
          {
            code: `${given.code >> 5}.${String(given.code & 31).padStart(2, '0')}`,
            messageId: given.messageId,
            token: Buffer.from(given.token),
            confirmable: given.type === 0,
            ack: given.type === 2,
            reset: given.type === 3,
            payload: Buffer.from(given.payload),
            options: given.options.map(([number, value]) => ({ name: number as never, value: Buffer.from(value) })),
          },
          65_536,
        );
        const message = decode(datagram);
        if (!(message instanceof Message)) throw new Error(message.problem);
        expect([message.type, message.code, message.messageId]).toEqual([given.type, given.code, given.messageId]);
        expect(message.token.equals(given.token)).toBe(true);
        expect(message.payload.equals(given.payload)).toBe(true);
        expect(
          optionsOf(message)
            .map(([, value]) => value)
            .sort(),
        ).toEqual(
          sorted(given.options)
            .map(([, value]) => value)
            .sort(),
        );
      }),
      { seed, numRuns: 500 },
    );
  });

  it('never throws, and stays inside the datagram, whatever arrives', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.boolean(), (bytes, plausible) => {
        const datagram = Buffer.from(bytes);
        if (plausible && datagram.length > 0) datagram[0] = 0x40 | ((datagram[0] as number) & 0x38);
        const message = decode(datagram);
        if (message.problem !== undefined) return;
        for (let at = 0; at < message.options.length; at += 3) {
          expect(message.options[at + 1]).toBeLessThanOrEqual(message.options[at + 2] as number);
          expect(message.options[at + 2]).toBeLessThanOrEqual(datagram.length);
        }
      }),
      { seed, numRuns: 5_000 },
    );
  });
});
