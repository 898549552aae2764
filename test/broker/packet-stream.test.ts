import * as mqttPacket from 'mqtt-packet';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LocalGateway, startLocalGateway } from '../support/local-gateway.ts';
import { Wire } from './wire.ts';

let gateway: LocalGateway;

beforeAll(async () => {
  gateway = await startLocalGateway();
});

afterAll(() => gateway.stop());

/** Every kind of packet that a client sends, payloads from none to more than a segment. */
function packets(topic: string): Buffer[] {
  const sizes = [0, 1, 120, 121, 5_000, 16_300, 16_400, 40_000];
  return sizes.flatMap((size, at) => {
    const payload = Buffer.alloc(size, `${at}`);
    const publish = { cmd: 'publish', topic, payload, retain: false, dup: false } as const;
    return [
      mqttPacket.generate({ ...publish, qos: 0 }),
      mqttPacket.generate({ ...publish, qos: 1, messageId: 2 * at + 1 }),
      mqttPacket.generate({ cmd: 'pingreq' }),
      mqttPacket.generate({ ...publish, qos: 2, messageId: 2 * at + 2 }),
      mqttPacket.generate({ cmd: 'subscribe', messageId: 100 + at, subscriptions: [{ topic: `other/${at}`, qos: 0 }] }),
      mqttPacket.generate({ cmd: 'puback', messageId: 60_000 }),
    ];
  });
}

/** A sequence of numbers that looks random and is the same each time. */
function* numbers(seed: number): Generator<number> {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    yield state;
  }
}

describe('what a client sends', () => {
  it.each([1, 2, 3, 4, 5, 6])('is the same packets however it is cut, seed %i', async (seed) => {
    const topic = `cut/${seed}`;
    const { wire: watcher } = await Wire.open(gateway, `w${seed}`, true);
    await watcher.subscribe(topic, 0);
    const { wire } = await Wire.open(gateway, `c${seed}`, true);
    const bytes = Buffer.concat(packets(topic));
    const random = numbers(seed);
    for (let at = 0; at < bytes.length; ) {
      const most = [3, 70, 2_000, 30_000][(random.next().value as number) % 4] ?? 1;
      const length = 1 + ((random.next().value as number) % most);
      wire.socket.write(bytes.subarray(at, at + length));
      at += length;
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    for (let at = 0; at < 8; at++) {
      await wire.next('puback');
      await wire.next('pingresp');
      await wire.next('pubrec');
      await wire.next('suback');
    }
    const got: string[] = [];
    while (got.length < 24) {
      const { payload } = await watcher.next('publish');
      got.push(`${payload.length}:${`${payload}`.slice(0, 1)}`);
    }
    const expected = [0, 1, 120, 121, 5_000, 16_300, 16_400, 40_000].flatMap((size, at) =>
      Array.from({ length: 3 }, () => `${size}:${size > 0 ? at : ''}`),
    );
    expect(got).toEqual(expected);
    await Promise.all([wire.vanish(), watcher.vanish()]);
  });

  it('is not obeyed any more behind a packet that is not in order', async () => {
    const { wire: watcher } = await Wire.open(gateway, 'last', true);
    await watcher.subscribe('behind', 0);
    const { wire } = await Wire.open(gateway, 'bad', true);
    const publish = (payload: string) =>
      mqttPacket.generate({ cmd: 'publish', topic: 'behind', payload, qos: 0, retain: false, dup: false });
    wire.socket.write(Buffer.concat([publish('before'), Buffer.from([0x36, 0]), publish('after')]));
    await expect(wire.next('pingresp')).rejects.toThrow('the connection ended');
    expect(`${(await watcher.next('publish')).payload}`).toBe('before');
    await watcher.settled();
    await watcher.settled();
    expect(watcher.got).toEqual([]);
  });
});
