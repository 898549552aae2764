import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseClientHello, parseHelloPrefix } from '../../../src/coap/dtls/client-hello.ts';
import { parseFragments, Reassembler, writeFragment } from '../../../src/coap/dtls/fragments.ts';
import { parseRecord } from '../../../src/coap/dtls/record.ts';
import { Client } from './support/client.ts';
import { World } from './support/world.ts';

const seed = 20_260_101;
const numRuns = 2_000;
const bytes = (maxLength = 200) => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));

describe('a parser', () => {
  it('throws for no bytes at all, and reads within them', () => {
    fc.assert(
      fc.property(bytes(), fc.nat(20), (data, at) => {
        const record = parseRecord(data, at, 8);
        if (record !== undefined) expect(record.end).toBeLessThanOrEqual(data.length);
        parseFragments(data);
        parseHelloPrefix(data);
        parseClientHello(data);
      }),
      { seed, numRuns },
    );
  });

  it('puts any cut of a message together again, in any order, with overlaps', () => {
    const piece = fc.tuple(fc.nat(99), fc.integer({ min: 1, max: 40 }));
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
        const body = Buffer.from(Array.from({ length: 100 }, (_, n) => n));
        const message = { type: 16, messageSequence: 3, body };
        const reassembler = new Reassembler(200, 3);
        const missing = new Set(body.keys());
        for (const [offset, size] of pieces) {
          const cut = Math.min(size, 100 - offset);
          const [fragment] = parseFragments(writeFragment(message, offset, cut)) ?? [];
          if (fragment === undefined) throw new Error('no fragment');
          expect(reassembler.add(fragment)).toBe('taken');
          for (let n = 0; n < cut; n++) missing.delete(offset + n);
        }
        expect(reassembler.take()).toEqual(missing.size === 0 ? message : undefined);
      }),
      { seed, numRuns: 300 },
    );
  });
});

describe('the server', () => {
  /** What a change does to a datagram. */
  const change = fc.oneof(
    fc.record({ kind: fc.constant('flip' as const), at: fc.nat(300), bits: fc.integer({ min: 1, max: 255 }) }),
    fc.record({ kind: fc.constant('cut' as const), at: fc.nat(300), bits: fc.constant(0) }),
    fc.record({ kind: fc.constant('drop' as const), at: fc.nat(300), bits: fc.constant(0) }),
    fc.record({ kind: fc.constant('insert' as const), at: fc.nat(300), bits: fc.nat(255) }),
  );
  const changed = (datagram: Buffer, { kind, at: place, bits }: { kind: string; at: number; bits: number }) => {
    const at = place % Math.max(1, datagram.length);
    if (kind === 'cut') return datagram.subarray(0, at);
    if (kind === 'drop') return Buffer.concat([datagram.subarray(0, at), datagram.subarray(at + 1)]);
    if (kind === 'insert') return Buffer.concat([datagram.subarray(0, at), Buffer.from([bits]), datagram.subarray(at)]);
    const flipped = Buffer.from(datagram);
    flipped[at] = (flipped[at] ?? 0) ^ bits;
    return flipped;
  };

  it('takes any bytes', () => {
    const world = new World();
    const client = world.connect();
    fc.assert(
      fc.property(bytes(), fc.boolean(), (data, here) => {
        world.arrive([data], here ? 40_000 : 40_001);
      }),
      { seed, numRuns },
    );
    world.arrive([client.send('alive')]);
    expect(world.received.map(({ text }) => text)).toEqual(['alive']);
    expect(world.server.handshakes).toBe(0);
  });

  it('takes any changes to the flights of a handshake; nobody else is disturbed, and nobody gets in without the key', () => {
    const step = fc.record({ flight: fc.nat(2), changes: fc.array(change, { minLength: 1, maxLength: 3 }) });
    const world = new World({ maxHandshakesPerSecond: 1_000_000, maxHellosPerSecond: 1_000_000 });
    const bystander = world.connect({}, 1);
    let sent = 0;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 4 }), fc.boolean(), (steps, right) => {
        const before = world.server.sessions;
        const client = new Client(right ? { cid: Buffer.from('c') } : { key: Buffer.alloc(16, 1) });
        let upwards = client.start();
        for (let flight = 0; flight < 3; flight++) {
          const bad = steps.filter((one) => one.flight === flight);
          for (const { changes } of bad) {
            world.arrive(upwards.map((datagram) => changes.reduce((now, one) => changed(now, one), datagram)));
          }
          upwards = world.arrive(upwards).flatMap((one) => client.receive(one));
        }
        if (!right) expect(world.server.sessions).toBe(before);
        expect(world.server.handshakes).toBeLessThanOrEqual(1);
        world.arrive([bystander.send(`${++sent}`)], 1);
        expect(world.received.at(-1)?.text).toBe(`${sent}`);
        world.pass(61_000);
        expect(world.server.handshakes).toBe(0);
      }),
      { seed, numRuns: 300 },
    );
  });

  it('takes any contents of authentic records', () => {
    const world = new World();
    let client = world.connect();
    fc.assert(
      fc.property(fc.nat(255), bytes(80), (type, content) => {
        world.arrive([client.seal(type, content)]);
        // an alert among them may have ended it
        if (world.server.sessions === 0) client = world.connect();
      }),
      { seed, numRuns },
    );
    world.arrive([client.send('alive')]);
    expect(world.received.at(-1)?.text).toBe('alive');
  });
});
