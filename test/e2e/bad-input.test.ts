import { createSocket } from 'node:dgram';
import { createConnection } from 'node:net';
import * as packet from 'coap-packet';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Daemon, eventually } from './support/daemon.ts';
import { coapClient, scratch } from './support/peers.ts';
import { run } from './support/process.ts';

/** A bounded, seeded fuzz of datagrams and MQTT bytes: the daemon lives, stays small, and serves others. */

const place = scratch();
const daemon = new Daemon(place.path);
let coap = 0;
let mqtt = 0;

beforeAll(async () => {
  await daemon.start();
  coap = await daemon.port('coap');
  mqtt = await daemon.port('mqtt');
});

afterAll(async () => {
  await daemon.kill('SIGTERM');
  place.remove();
});

/** mulberry32: small, and the same everywhere. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function datagram(next: () => number): Buffer {
  const integer = (below: number) => Math.floor(next() * below);
  const bytes = (length: number) => Buffer.from(Array.from({ length }, () => integer(256)));
  if (next() < 0.25) return bytes(integer(64));
  const names = [
    'Uri-Path',
    'Uri-Query',
    'Observe',
    'Block1',
    'Block2',
    'Size1',
    'ETag',
    'If-Match',
    'Accept',
    'Content-Format',
  ] as const;
  const texts = [
    'ps',
    'mqtt',
    'connection',
    'a',
    '+',
    '#',
    '',
    'clientid=x',
    'token=y',
    'qos=9',
    'retain=',
    '.well-known',
    'core',
  ];
  const made = packet.generate({
    code:
      (['0.00', '0.01', '0.02', '0.03', '0.04', '0.05', '0.31', '2.05', '4.04', '7.31'] as const)[integer(10)] ??
      '0.01',
    confirmable: next() < 0.5,
    messageId: integer(65_536),
    token: bytes(integer(9)),
    options: Array.from({ length: integer(6) }, () => {
      const name = names[integer(names.length)] ?? 'Uri-Path';
      const value = name.startsWith('Uri') ? Buffer.from(texts[integer(texts.length)] ?? '') : bytes(integer(5));
      return { name, value };
    }),
    payload: bytes(next() < 0.2 ? integer(1_000) : integer(20)),
  });
  for (let flips = next() < 0.5 ? integer(4) : 0; flips > 0; flips--) made[integer(made.length)] = integer(256);
  return next() < 0.2 ? made.subarray(0, integer(made.length)) : made;
}

/** A request that must work whatever the others do. */
async function served(): Promise<void> {
  const { output } = await run(coapClient, [
    '-m',
    'post',
    '-v',
    '6',
    '-e',
    'ok',
    '-B',
    '20',
    `coap://127.0.0.1:${coap}/ps/served`,
  ]);
  expect(output).toMatch(/2\.04/);
}

describe('bad datagrams', () => {
  it('leave it alive, its memory flat, and other clients served', { timeout: 180_000 }, async () => {
    const next = random(20_260_101);
    const socket = createSocket('udp4');
    socket.on('message', () => undefined);
    const round = async (count: number) => {
      for (let n = 0; n < count; n++) {
        await new Promise<void>((resolve) => socket.send(datagram(next), coap, '127.0.0.1', () => resolve()));
      }
    };
    await round(20_000);
    await served();
    const before = daemon.memory;
    await round(60_000);
    await served();
    expect(daemon.memory - before).toBeLessThan(40_000_000);
    await new Promise<void>((resolve) => socket.close(() => resolve()));
  });
});

describe('bad MQTT', () => {
  it('ends its own connection and nothing else', { timeout: 120_000 }, async () => {
    const next = random(7);
    for (let n = 0; n < 300; n++) {
      const bytes = Buffer.from(Array.from({ length: 1 + Math.floor(next() * 60) }, () => Math.floor(next() * 256)));
      if (next() < 0.7) bytes[0] = 0x10;
      await new Promise<void>((resolve) => {
        const socket = createConnection(mqtt, '127.0.0.1', () => {
          socket.end(bytes);
          setTimeout(() => socket.destroy(), 20);
        });
        socket.on('error', () => undefined);
        socket.on('close', () => resolve());
      });
    }
    await served();
    await eventually(async () => (await daemon.status()).clients.mqtt === 0, 'no connection is left');
  });
});
