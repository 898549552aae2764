import { describe, expect, it } from 'vitest';
import { Client, type ClientOptions, suites } from './support/client.ts';
import { World } from './support/world.ts';

/** Numbers in [0, 1) that are the same in each run. */
function seeded(seed: number): () => number {
  let state = seed * 2_654_435_761;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b_3c6d) + 0x9e37_79b9) | 0;
    const mixed = Math.imul(state ^ (state >>> 12), 0x297a_2d39);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 0x1_0000_0000;
  };
}

/** So that it is the faults that are tested, not how long the ends bear them. */
const patient = { maxRetransmissions: 100, handshakeTimeout: 600_000 };

/** What becomes of a datagram: how many times it arrives. */
type Fate = (direction: 'up' | 'down', n: number) => number;

interface Run {
  readonly client: Client;
  readonly world: World;
  readonly up: number;
  readonly down: number;
}

/** A handshake over a network that loses, repeats and reorders; both ends send again by their timers. */
function handshake(
  options: ClientOptions,
  fate: Fate,
  shuffle: (n: number) => number = () => 0,
  world = new World(patient),
): Run {
  const client = new Client(options);
  const counts = { up: 0, down: 0 };
  const carried = (direction: 'up' | 'down', datagrams: readonly Buffer[]) => {
    const arriving: Buffer[] = [];
    for (const datagram of datagrams) {
      for (let times = fate(direction, counts[direction]++); times > 0; times--) {
        arriving.splice(arriving.length - Math.min(arriving.length, shuffle(arriving.length)), 0, datagram);
      }
    }
    return arriving;
  };
  let upwards = client.start();
  for (let round = 0; round < 60 && !(client.connected && world.server.sessions > 0); round++) {
    let downwards = world.arrive(carried('up', upwards));
    // the server's timer, and every other time the client's
    if (downwards.length === 0) downwards = world.pass(1_000 << Math.min(5, round >> 2));
    upwards = carried('down', downwards).flatMap((one) => client.receive(one));
    if (upwards.length === 0 && round % 2 === 1) upwards = client.resend();
  }
  return { client, world, ...counts };
}

function works({ client, world }: Run): void {
  expect(client.connected).toBe(true);
  expect(world.server.sessions).toBe(1);
  // what is still on its way of the handshake does no harm
  world.arrive(client.resend());
  world.arrive([client.send('up')]);
  expect(world.received.at(-1)?.text).toBe('up');
  world.server.send(world.session, Buffer.from('down'));
  for (const datagram of world.take()) client.receive(datagram);
  expect(client.data).toContain('down');
}

const small = { fragment: 4, extra: Buffer.concat([Buffer.from([0, 21, 0, 100]), Buffer.alloc(100)]) };
const kinds: readonly (readonly [string, ClientOptions])[] = [
  ['a full handshake', {}],
  ['without the extended master secret', { ems: false, suites: [suites.gcm] }],
  ['with connection ids', { cid: Buffer.from('abc') }],
  ['in fragments', small],
];

describe.each(kinds)('%s', (_name, options) => {
  const plain = handshake(options, () => 1);

  it('needs nothing sent again on a network without faults', () => {
    works(plain);
    expect(plain.world.count('retransmissions')).toBe(1);
  });

  it('survives the loss of any one datagram', () => {
    for (const direction of ['up', 'down'] as const) {
      for (let lost = 0; lost < plain[direction]; lost++) {
        works(handshake(options, (way, n) => (way === direction && n === lost ? 0 : 1)));
      }
    }
  });

  it('survives the doubling of any one datagram, and of all', () => {
    for (const direction of ['up', 'down'] as const) {
      for (let twice = 0; twice < plain[direction]; twice++) {
        works(handshake(options, (way, n) => (way === direction && n === twice ? 2 : 1)));
      }
    }
    works(handshake(options, () => 2));
  });

  it('survives flights that arrive backwards', () => {
    works(
      handshake(
        options,
        () => 1,
        (n) => n,
      ),
    );
  });

  it('survives loss, doubling and reordering at once', () => {
    for (let seed = 1; seed <= 150; seed++) {
      const random = seeded(seed);
      const fate = () => (random() < 0.25 ? 0 : random() < 0.2 ? 2 : 1);
      works(handshake(options, fate, (n) => Math.floor(random() * (n + 1))));
    }
  });
});

describe('a server that cuts its flights to 60 bytes', () => {
  it('is understood, whatever is lost', () => {
    for (let seed = 1; seed <= 100; seed++) {
      const random = seeded(seed);
      const world = new World({ ...patient, maxHandshakeDatagram: 60 });
      const run = handshake(
        small,
        () => (random() < 0.15 ? 0 : 1),
        (n) => Math.floor(random() * (n + 1)),
        world,
      );
      works(run);
    }
  });

  it('sends no datagram that is larger', () => {
    const world = new World({ maxHandshakeDatagram: 60 });
    const client = new Client();
    let upwards = client.start();
    while (upwards.length > 0) {
      const downwards = world.arrive(upwards);
      expect(Math.max(0, ...downwards.map(({ length }) => length))).toBeLessThanOrEqual(60);
      upwards = downwards.flatMap((one) => client.receive(one));
    }
    expect(client.connected).toBe(true);
  });
});

describe('a resumption', () => {
  it('survives loss, doubling and reordering', () => {
    for (let seed = 1; seed <= 150; seed++) {
      const random = seeded(seed);
      const world = new World();
      const first = world.connect();
      world.arrive([first.seal(21, Buffer.from([1, 0]))]);
      expect(world.server.sessions).toBe(0);
      const fate = () => (random() < 0.25 ? 0 : random() < 0.2 ? 2 : 1);
      const run = handshake({ resume: first.ticket }, fate, (n) => Math.floor(random() * (n + 1)), world);
      works(run);
      expect(run.client.resumed).toBe(true);
    }
  });
});
