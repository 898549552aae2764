import fc from 'fast-check';
import { generate, parser } from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import { makeMessageId } from '../../src/domain/index.ts';
import { AckWindow } from '../../src/upstream/ack-window.ts';
import { readCredentials, shownUrl } from '../../src/upstream/credentials.ts';
import { Dialects } from '../../src/upstream/dialects.ts';
import { EchoFilter } from '../../src/upstream/echo-filter.ts';
import { Gaps, statusPayload } from '../../src/upstream/gap.ts';
import { propertiesOf, remainingExpiry } from '../../src/upstream/packet.ts';
import { PacketIds } from '../../src/upstream/packet-ids.ts';
import { encodePublish, publishLength } from '../../src/upstream/publish-encoder.ts';
import { TokenBucket } from '../../src/upstream/token-bucket.ts';
import { TopicMap } from '../../src/upstream/topic-map.ts';
import { FakeLog } from './support/fake-log.ts';
import { options, rule } from './support/harness.ts';

describe('TopicMap', () => {
  it.each([
    ['a/b', { topic: '#' }, 'a/b'],
    ['a/b', { topic: '#', remotePrefix: 'site7/' }, 'site7/a/b'],
    ['plant/a', { topic: '#', localPrefix: 'plant/', remotePrefix: 'r/' }, 'r/a'],
    ['other/a', { topic: '#', localPrefix: 'plant/' }, undefined],
    ['a/b', { topic: 'a/+' }, 'a/b'],
    ['a', { topic: 'a/+' }, undefined],
    ['$SYS/x', { topic: '#' }, undefined],
    ['a', { topic: '#', direction: 'in' as const }, undefined],
    ['a', { topic: '#', direction: 'both' as const, remotePrefix: 'x/' }, 'x/a'],
  ])('sends %s by %o to %s', (topic, given, expected) => {
    const map = new TopicMap([rule(given)]);
    expect(map.out(topic)?.topic).toBe(expected);
    expect(map.out(topic)?.topic).toBe(expected);
  });

  it('lets the first rule that matches decide', () => {
    const map = new TopicMap([rule({ topic: 'a', qos: 0 }), rule({ topic: '#', qos: 2, remotePrefix: 'x/' })]);
    expect(map.out('a')).toMatchObject({ topic: 'a', qos: 0 });
    expect(map.out('b')).toMatchObject({ topic: 'x/b', qos: 2 });
  });

  it('subscribes with the remote prefix and brings topics home with the local one', () => {
    const map = new TopicMap([
      rule({ topic: 'cmd/#', direction: 'in', remotePrefix: 'site7/', localPrefix: 'down/' }),
      rule({ topic: 'x', direction: 'both' }),
      rule({ topic: 'x', direction: 'in', qos: 0 }),
    ]);
    expect(map.subscriptions).toEqual([
      { filter: 'site7/cmd/#', qos: 1 },
      { filter: 'x', qos: 1 },
    ]);
    expect(map.in('site7/cmd/go')).toMatchObject({ topic: 'down/cmd/go', qos: 1 });
    expect(map.in('cmd/go')).toBeUndefined();
  });

  it('forgets nothing when more topics are seen than it remembers', () => {
    const map = new TopicMap([rule({ remotePrefix: 'r/' })]);
    for (let at = 0; at < 10_000; at++) expect(map.out(`t/${at}`)?.topic).toBe(`r/t/${at}`);
  });
});

describe('AckWindow', () => {
  it('moves the cursor along the contiguous acknowledged prefix only', () => {
    const window = new AckWindow<string>(10n);
    const slots = [11n, 12n, 13n].map((next) => window.enter('m', next, 0));
    window.settle(slots[1] ?? -1);
    expect([window.cursor, window.size, window.open]).toEqual([10n, 3, 2]);
    window.settle(slots[0] ?? -1);
    expect([window.cursor, window.size, window.open]).toEqual([12n, 1, 1]);
    expect(window.settle(slots[0] ?? -1)).toBe(false);
  });

  it('holds, for any order of acknowledgements and skips, the id after the longest settled prefix', () => {
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.constant('enter' as const) },
      { weight: 1, arbitrary: fc.constant('pass' as const) },
      { weight: 3, arbitrary: fc.nat() },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 3_000 }), (steps) => {
        const window = new AckWindow<number>(0n);
        const model: { slot: number | undefined; settled: boolean; next: bigint }[] = [];
        let id = 0n;
        for (const what of steps) {
          if (what === 'enter') {
            id += 1n;
            model.push({ slot: window.enter(0, id, 0), settled: false, next: id });
          } else if (what === 'pass') {
            id += 1n;
            window.pass(id);
            model.push({ slot: undefined, settled: true, next: id });
          } else {
            const open = model.filter((entry) => !entry.settled);
            const entry = open[what % Math.max(1, open.length)];
            if (entry?.slot !== undefined) {
              expect(window.settle(entry.slot)).toBe(true);
              entry.settled = true;
            }
          }
          const first = model.findIndex((entry) => !entry.settled);
          const cursor = first === -1 ? id : (model[first - 1]?.next ?? 0n);
          expect(window.cursor).toBe(cursor);
          expect(window.open).toBe(model.filter((entry) => !entry.settled).length);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('compacts without losing slots', () => {
    const window = new AckWindow<number>(0n);
    const stuck: number[] = [];
    for (let at = 1; at <= 5_000; at++) {
      const slot = window.enter(at, BigInt(at), 0);
      stuck.push(slot);
      if (stuck.length > 64) window.settle(stuck.shift() ?? -1);
    }
    for (const slot of stuck) window.settle(slot);
    expect([window.cursor, window.size]).toEqual([5_000n, 0]);
  });
});

describe('expiry', () => {
  it.each([
    [0, 999_999, 0],
    [60, undefined, 60],
    [60, 0, 60],
    [60, 10_500, 50],
    [60, 59_900, 1],
    [60, 60_000, undefined],
    [60, -5_000, 60],
  ])('of %s s after %s ms leaves %s', (expiry, age, left) => {
    expect(remainingExpiry(expiry, age)).toBe(left);
  });
});

describe('encodePublish', () => {
  it('writes what mqtt-packet writes, as long as publishLength says', () => {
    const log = new FakeLog();
    fc.assert(
      fc.property(
        fc.string({ minLength: 1, maxLength: 200, unit: 'binary' }).filter((text) => text.isWellFormed()),
        fc.oneof(
          fc.uint8Array({ maxLength: 300 }),
          fc.constantFrom(16_200, 16_400, 70_000).map((size) => new Uint8Array(size)),
        ),
        fc.constantFrom(0 as const, 1 as const, 2 as const),
        fc.boolean(),
        fc.boolean(),
        fc.boolean(),
        fc.nat(100),
        (topic, payload, qos, retain, five, bare, expiry) => {
          log.append({ expiry, clientId: expiry % 2 === 0 ? '' : 'ä@b' });
          const page = log.read(log.next - 1n, { records: 1, bytes: 1 });
          const message = 'messages' in page ? page.messages[0] : undefined;
          const properties = bare || message === undefined ? undefined : propertiesOf(message, 'gate1', expiry);
          const packet = { topic, payload, qos, retain, properties };
          const bytes = generate(
            {
              ...{ cmd: 'publish', topic, payload: Buffer.from(payload), qos, retain, dup: false, messageId: 4_711 },
              ...(five ? { properties: properties as never } : {}),
            },
            { protocolVersion: five ? 5 : 4 } as never,
          );
          const encoded = encodePublish(packet, 4_711, five);
          expect(publishLength(packet, five)).toBe(encoded.length);
          // mqtt-packet puts user properties and expiry in the order given: user properties first.
          if (!five || properties?.messageExpiryInterval === undefined) expect(encoded.equals(bytes)).toBe(true);
          else {
            expect(encoded.length).toBe(bytes.length);
            if (payload.length < 1_000) expect(decoded(encoded)).toEqual(decoded(bytes));
          }
        },
      ),
      { numRuns: 300 },
    );
    const packet = {
      topic: 't',
      payload: new Uint8Array(2_100_000),
      qos: 1,
      retain: false,
      properties: undefined,
    } as const;
    expect(encodePublish(packet, 1, false).subarray(0, 5).toString('hex')).toBe('32a5968001');
  });
});

function decoded(bytes: Buffer): unknown {
  const read = parser({ protocolVersion: 5 });
  let packet: unknown;
  read.on('packet', (one) => {
    packet = JSON.parse(JSON.stringify(one));
  });
  read.parse(bytes);
  return packet;
}

describe('Dialects', () => {
  it('goes down the ladder on refusals and begins again at its end', () => {
    const dialects = new Dialects('auto');
    expect(dialects.for('u', 0)).toBe('5');
    expect(dialects.refused('u', true, 0)).toBe(true);
    expect(dialects.for('u', 0)).toBe('3.1.1-bridge');
    expect(dialects.refused('u', true, 0)).toBe(true);
    expect(dialects.for('u', 0)).toBe('3.1.1');
    expect(dialects.refused('u', true, 0)).toBe(false);
    expect(dialects.for('u', 0)).toBe('5');
    expect(dialects.for('v', 0)).toBe('5');
  });

  it('remembers what a broker stated', () => {
    const dialects = new Dialects('auto');
    dialects.refused('u', true, 0);
    dialects.failed('u');
    expect(dialects.for('u', 1e12)).toBe('3.1.1-bridge');
  });

  it('drops a guess when the lower dialect fails for another reason, and after an hour', () => {
    const dialects = new Dialects('auto');
    dialects.refused('u', false, 0);
    dialects.failed('u');
    expect(dialects.for('u', 0)).toBe('5');
    dialects.refused('u', false, 0);
    dialects.accepted('u');
    dialects.failed('u');
    expect(dialects.for('u', 3_599_999)).toBe('3.1.1-bridge');
    expect(dialects.for('u', 3_600_000)).toBe('5');
  });

  it('has one step for 5 alone and two for 3.1.1', () => {
    expect(new Dialects('5').refused('u', true, 0)).toBe(false);
    const old = new Dialects('3.1.1');
    expect(old.for('u', 0)).toBe('3.1.1-bridge');
    old.refused('u', true, 0);
    expect(old.for('u', 0)).toBe('3.1.1');
  });
});

describe('TokenBucket', () => {
  it('gives the rate and no more, whatever the steps of time', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), fc.array(fc.nat(50), { maxLength: 300 }), (rate, steps) => {
        const bucket = new TokenBucket(rate, 0);
        let now = 0;
        let taken = 0;
        for (const step of steps) {
          now += step;
          if (bucket.wait(1, now) > 0) continue;
          bucket.spend(1);
          taken += 1;
        }
        expect(taken).toBeLessThanOrEqual(1 + (now / 1_000) * rate + 1e-6);
      }),
    );
  });

  it('says how long to wait, and 0 means no limit', () => {
    const bucket = new TokenBucket(10, 0);
    expect(bucket.wait(1, 0)).toBe(0);
    bucket.spend(1);
    expect(bucket.wait(1, 0)).toBe(100);
    expect(bucket.wait(1, 100)).toBe(0);
    expect(new TokenBucket(0, 0).wait(1, 0)).toBe(0);
  });

  it('lets through what is larger than a second’s worth, and takes its time for it afterwards', () => {
    const bucket = new TokenBucket(100, 0);
    expect(bucket.wait(1_000, 0)).toBe(990);
    expect(bucket.wait(1_000, 990)).toBe(0);
    bucket.spend(1_000);
    expect(bucket.wait(1, 990)).toBe(9_010);
  });
});

describe('EchoFilter', () => {
  it('takes each message sent for one echo, for ten seconds', () => {
    const echo = new EchoFilter();
    const payload = Buffer.from('on');
    echo.sent('a', payload, 0);
    echo.sent('a', payload, 0);
    expect(echo.isEcho('b', payload, 1)).toBe(false);
    expect(echo.isEcho('a', payload, 1)).toBe(true);
    expect(echo.isEcho('a', payload, 1)).toBe(true);
    expect(echo.isEcho('a', payload, 1)).toBe(false);
    echo.sent('a', payload, 0);
    expect(echo.isEcho('a', payload, 10_001)).toBe(false);
  });

  it('forgets the oldest beyond its bound', () => {
    const echo = new EchoFilter(2);
    for (const topic of ['a', 'b', 'c']) echo.sent(topic, Buffer.of(1), 0);
    expect(['a', 'b', 'c'].map((topic) => echo.isEcho(topic, Buffer.of(1), 1))).toEqual([false, true, true]);
  });
});

describe('PacketIds', () => {
  it('never gives an identifier twice and none beyond its range', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20)), (steps) => {
        const ids = new PacketIds(8);
        const taken = new Set<number>();
        for (const step of steps) {
          if (step < 12) {
            const id = ids.allocate();
            expect(id === null).toBe(taken.size === 8);
            if (id === null) continue;
            expect(taken.has(id) || id < 1 || id > 8).toBe(false);
            taken.add(id);
          } else {
            ids.deallocate(step - 11);
            taken.delete(step - 11);
          }
        }
      }),
    );
  });
});

describe('gaps', () => {
  it('are joined where they touch, told once, and counted by reason', () => {
    const gaps = new Gaps();
    const id = (at: number) => makeMessageId(1, at);
    expect(gaps.add({ from: id(1), to: id(5), count: 4, reason: 'trimmed' }, 0)).toBe('new');
    expect(gaps.add({ from: id(5), to: id(7), count: 2, reason: 'trimmed' }, 0)).toBe('grown');
    expect(gaps.add({ from: id(1), to: id(5), count: 4, reason: 'trimmed' }, 0)).toBe('known');
    expect(gaps.add({ from: id(9), to: id(10), count: 1, reason: 'damaged' }, 0)).toBe('new');
    expect(gaps.lost).toEqual({ trimmed: 6, damaged: 1 });
    const status = statusPayload({ state: 'online', gateway: 'g', since: 1, gaps: gaps.latest, lost: gaps.lost });
    expect(JSON.parse(Buffer.from(status).toString())).toEqual({
      state: 'online',
      gateway: 'g',
      since: 1,
      lost: { trimmed: 6, damaged: 1 },
      gaps: [
        { from: '0000010000000001', to: '0000010000000007', count: 6, reason: 'trimmed' },
        { from: '0000010000000009', to: '000001000000000A', count: 1, reason: 'damaged' },
      ],
    });
  });
});

describe('credentials', () => {
  it('are never in a URL that is shown', () => {
    expect(shownUrl('mqtts://me:secret@broker:8883/x')).toBe('mqtts://broker:8883/x');
    expect(shownUrl('mqtt://broker')).toBe('mqtt://broker');
  });

  it('come from the URL where the options have none', async () => {
    expect(await readCredentials(options(), 'mqtt://me:p%40ss@broker')).toMatchObject({
      username: 'me',
      password: 'p@ss',
    });
    expect(await readCredentials(options({ username: 'u', password: 'p' }), 'mqtt://me:x@broker')).toMatchObject({
      username: 'u',
      password: 'p',
    });
  });

  it('name the file that cannot be read', async () => {
    await expect(readCredentials(options({ passwordFile: '/nowhere/pw' }), 'mqtt://b')).rejects.toThrow(
      /cannot read \/nowhere\/pw/,
    );
  });

  it('of messages passed over singly are one for a burst, whatever comes between', () => {
    const gaps = new Gaps();
    const id = (at: number) => makeMessageId(1, at);
    expect(gaps.add({ from: id(1), to: id(5), count: 2, reason: 'age' }, 0)).toBe('new');
    expect(gaps.add({ from: id(5), to: id(6), count: 1, reason: 'damaged' }, 10)).toBe('new');
    expect(gaps.add({ from: id(8), to: id(9), count: 1, reason: 'age' }, 50_000)).toBe('grown');
    expect(gaps.add({ from: id(20), to: id(21), count: 1, reason: 'age' }, 120_000)).toBe('new');
    expect(gaps.latest).toEqual([
      { from: id(5), to: id(6), count: 1, reason: 'damaged' },
      { from: id(1), to: id(9), count: 3, reason: 'age' },
      { from: id(20), to: id(21), count: 1, reason: 'age' },
    ]);
    expect(gaps.lost).toEqual({ age: 4, damaged: 1 });
  });
});
