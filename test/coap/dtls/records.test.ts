import { describe, expect, it } from 'vitest';
import { ReplayWindow } from '../../../src/coap/dtls/replay-window.ts';
import { Client, recordsOf, suites } from './support/client.ts';
import { World } from './support/world.ts';

const texts = (world: World) => world.received.map(({ text }) => text);
const flip = (datagram: Buffer, at: number) => {
  const changed = Buffer.from(datagram);
  changed[at] = (changed[at] ?? 0) ^ 1;
  return changed;
};

describe.each([
  ['by its address', {}],
  ['by its connection id', { cid: Buffer.from('client') }],
])('a session that is found %s', (_name, options) => {
  it('takes each record once, in any order within 64', () => {
    const world = new World();
    const client = world.connect(options);
    const sent = Array.from({ length: 70 }, (_, n) => client.send(`${n}`));
    world.arrive([...sent.slice(1).reverse(), ...sent]);
    expect(
      texts(world)
        .map(Number)
        .sort((a, b) => a - b),
    ).toEqual(Array.from({ length: 64 }, (_, n) => n + 6));
    expect(world.count('replays')).toBe(5 + 1 + 69);
  });

  it('drops what was changed in any byte or cut anywhere, and answers nothing', () => {
    const world = new World();
    const client = world.connect(options);
    const record = client.send('data');
    for (let at = 0; at < record.length; at++) {
      expect(world.arrive([flip(record, at)])).toEqual([]);
      expect(world.arrive([record.subarray(0, at)])).toEqual([]);
    }
    expect(texts(world)).toEqual([]);
    expect(world.server.sessions).toBe(1);
    // a forged number did not move the window either
    world.arrive([record]);
    expect(texts(world)).toEqual(['data']);
  });

  it('goes on through alerts that anybody could have sent', () => {
    const world = new World();
    const client = world.connect(options);
    for (const alert of [
      [2, 40],
      [1, 0],
      [2, 0],
      [1, 90],
    ])
      world.arrive([client.plain(21, Buffer.from(alert))]);
    world.arrive([client.plain(23, Buffer.from('in the clear'))]);
    world.arrive([client.send('still here')]);
    expect(texts(world)).toEqual(['still here']);
    expect(world.ended).toEqual([]);
  });

  it('ends with its close_notify, which is answered', () => {
    const world = new World();
    const client = world.connect(options);
    world.arrive([client.send('x')]);
    for (const one of world.arrive([client.seal(21, Buffer.from([1, 0]))])) client.receive(one);
    expect(client.alerts).toEqual(['1/0']);
    expect(world.ended).toEqual([{ session: world.session, reason: 'closed' }]);
    world.arrive([client.send('late')]);
    expect(texts(world)).toEqual(['x']);
    world.server.send(world.session, Buffer.from('late'));
    expect(world.take()).toEqual([]);
  });

  it('ends with a fatal alert of its own, and is not resumed then', () => {
    const world = new World();
    const client = world.connect(options);
    expect(world.arrive([client.seal(21, Buffer.from([2, 20]))])).toEqual([]);
    expect(world.ended.map(({ reason }) => reason)).toEqual(['alert']);
    expect(world.connect({ ...options, resume: client.ticket }, 2).resumed).toBe(false);
  });

  it('refuses a renegotiation with no_renegotiation, and goes on', () => {
    const world = new World();
    const client = world.connect(options);
    const [hello] = recordsOf(new Client().start()[0] ?? Buffer.alloc(0));
    for (const one of world.arrive([client.seal(22, hello?.body ?? Buffer.alloc(0))])) client.receive(one);
    expect(client.alerts).toEqual(['1/100']);
    world.arrive([client.send('x')]);
    expect(texts(world)).toEqual(['x']);
  });

  it('ends when its key is another or gone, and tells the peer', () => {
    const world = new World();
    const client = world.connect(options);
    const other = world.connect({ ...options, identity: 'other', key: Buffer.alloc(16, 9) }, 2);
    world.take();
    world.server.revoke(new Set(['dev', 'none']), world.now);
    for (const one of world.take()) client.receive(one);
    expect(client.alerts).toEqual(['1/0']);
    expect(world.ended.map(({ reason }) => reason)).toEqual(['key_removed']);
    world.arrive([other.send('mine stays')], 2);
    expect(texts(world)).toEqual(['mine stays']);
  });

  it('ends after a time without an authentic record', () => {
    const world = new World({ sessionIdle: 10_000 });
    const client = world.connect(options);
    world.now += 6_000;
    world.arrive([client.send('x')]);
    world.now += 9_000;
    world.arrive([flip(client.send('y'), 22)]);
    world.server.sweep(world.now);
    expect(world.server.sessions).toBe(1);
    world.now += 1_001;
    world.server.sweep(world.now);
    expect(world.ended.map(({ reason }) => reason)).toEqual(['idle']);
  });

  it('gives way at a bound when it was silent longest', () => {
    const world = new World({ maxSessions: 3 });
    const clients = [1, 2, 3].map((port) => world.connect(options, port));
    world.now += 2_000;
    world.arrive(
      clients.slice(0, 1).map((one) => one.send('alive')),
      1,
    );
    world.connect(options, 4);
    expect(world.server.sessions).toBe(3);
    expect(world.ended.map(({ session, reason }) => [session.port, reason])).toEqual([[2, 'displaced']]);
    expect(world.count('sessions_displaced')).toBe(1);
  });

  it('gives way at a bound of its address or its identity, and no other does', () => {
    const world = new World({ maxSessionsPerAddress: 2, maxSessionsPerIdentity: 3 });
    const other = { ...options, identity: 'other', key: Buffer.alloc(16, 9) };
    world.connect(other, 1, '192.0.2.9');
    for (const port of [1, 2, 3]) world.connect(options, port);
    expect(world.ended.map(({ session }) => session.port)).toEqual([1]);
    for (const n of [4, 5]) world.connect(options, n, `192.0.2.${n}`);
    expect(world.ended.map(({ session }) => session.port)).toEqual([1, 2]);
    expect(world.server.sessions).toBe(4);
  });
});

describe('a peer whose address changes', () => {
  it('is not known any more without connection ids', () => {
    const world = new World();
    const client = world.connect();
    world.arrive([client.send('from elsewhere')], 50_000);
    expect(texts(world)).toEqual([]);
    expect(world.count('dropped', { reason: 'unknown_peer' })).toBe(1);
    world.arrive([client.send('from home')]);
    expect(texts(world)).toEqual(['from home']);
  });

  it('keeps its session with them, and gets what is sent to it at the new one', () => {
    const world = new World();
    const client = world.connect({ cid: Buffer.from('client') });
    world.arrive([client.send('a')]);
    const before = world.session;
    world.arrive([client.send('b')], 50_000, '203.0.113.5');
    expect(world.session).toBe(before);
    expect(before).toMatchObject({ address: '203.0.113.5', port: 50_000 });
    world.server.send(before, Buffer.from('down'));
    expect(world.sent).toMatchObject([{ address: '203.0.113.5', port: 50_000 }]);
    const [record] = recordsOf(world.sent[0]?.datagram ?? Buffer.alloc(0), 6);
    expect(record).toMatchObject({ type: 25, cid: Buffer.from('client') });
    for (const one of world.take()) client.receive(one);
    expect(client.data).toEqual(['down']);
    expect(world.count('address_changes')).toBe(1);
  });

  it('is not moved by what is forged, replayed or older than what came before, RFC 9146 §6', () => {
    const world = new World();
    const client = world.connect({ cid: Buffer.alloc(0) });
    const older = client.send('older');
    const newest = client.send('newest');
    world.arrive([newest]);
    world.arrive([newest], 50_000);
    world.arrive([flip(client.send('forged'), 40)], 50_001);
    expect(world.session.port).toBe(40_000);
    world.arrive([older], 50_002);
    expect(texts(world)).toEqual(['newest', 'older']);
    expect(world.session.port).toBe(40_000);
  });

  it('gets records without an id where its own is empty, and must send one', () => {
    const world = new World();
    const client = world.connect({ cid: Buffer.alloc(0) });
    expect(client.serverCid).toHaveLength(8);
    world.arrive([client.send('a')]);
    world.server.send(world.session, Buffer.from('down'));
    expect(recordsOf(world.take()[0] ?? Buffer.alloc(0))).toMatchObject([{ type: 23, epoch: 1 }]);
    world.arrive([client.seal(23, Buffer.from('without'), { cid: Buffer.alloc(0) })]);
    expect(texts(world)).toEqual(['a']);
  });

  it('may pad its records, RFC 9146 §4; a record of zeros alone is none', () => {
    const world = new World();
    const client = world.connect({ cid: Buffer.alloc(0) });
    world.arrive([client.seal(23, Buffer.from('padded'), { padding: 100 })]);
    world.arrive([client.seal(0, Buffer.alloc(10))]);
    expect(texts(world)).toEqual(['padded']);
    expect(world.count('bad_records')).toBe(1);
  });

  it('does not share an address with one that has no connection id', () => {
    const world = new World();
    const mobile = world.connect({ cid: Buffer.alloc(0) });
    const fixed = world.connect({ identity: 'other', key: Buffer.alloc(16, 9) }, 50_000);
    // the mobile one's new address was the fixed one's
    world.arrive([mobile.send('mobile')], 50_000);
    world.arrive([fixed.send('fixed')], 50_000);
    expect(texts(world)).toEqual(['mobile', 'fixed']);
    expect(world.server.sessions).toBe(2);
    // another device where the mobile one was: it takes nothing from it
    world.connect({ identity: 'other', key: Buffer.alloc(16, 9), cid: Buffer.alloc(0) });
    expect(world.ended).toEqual([]);
    world.arrive([mobile.send('mobile again')]);
    expect(texts(world).at(-1)).toBe('mobile again');
  });
});

describe('a record', () => {
  it('may share a datagram with others; what follows a malformed one is not read', () => {
    const world = new World();
    const client = world.connect();
    const [a, b, c] = ['a', 'b', 'c'].map((text) => client.send(text)) as [Buffer, Buffer, Buffer];
    world.arrive([Buffer.concat([a, b])]);
    world.arrive([Buffer.concat([Buffer.from([23, 0xfe, 0xfd]), c])]);
    expect(texts(world)).toEqual(['a', 'b']);
    expect(world.count('dropped', { reason: 'malformed' })).toBe(1);
  });

  it('of a data message has 16 kB at most', () => {
    const world = new World();
    const client = world.connect({ suites: [suites.gcm] });
    world.arrive([client.send('x'.repeat(16_384))]);
    expect(texts(world)[0]).toHaveLength(16_384);
    world.arrive([client.send('x'.repeat(16_386))]);
    expect(texts(world)).toHaveLength(1);
    world.server.send(world.session, Buffer.alloc(16_385));
    expect(world.take()).toEqual([]);
    expect(world.count('dropped', { reason: 'too_large' })).toBe(1);
  });

  it('of another epoch or version is not opened', () => {
    const world = new World();
    const client = world.connect();
    const record = client.send('x');
    const changed = (at: number, value: number) => {
      const other = Buffer.from(record);
      other[at] = value;
      return other;
    };
    world.arrive([changed(4, 2), changed(2, 0xff)]);
    expect(texts(world)).toEqual([]);
    expect(world.count('bad_records')).toBe(2);
  });
});

describe('the replay window', () => {
  it('agrees with a set of numbers', () => {
    let state = 7;
    const random = (below: number) => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
      return state % below;
    };
    for (let run = 0; run < 50; run++) {
      const window = new ReplayWindow();
      const seen = new Set<number>();
      let highest = -1;
      for (let n = 0; n < 400; n++) {
        const sequence = Math.max(0, highest + random(10) === 0 ? 0 : highest - 70 + random(run % 2 === 0 ? 80 : 200));
        const fresh = sequence > highest - 64 && !seen.has(sequence);
        expect(window.fresh(sequence)).toBe(fresh);
        if (!fresh) continue;
        window.mark(sequence);
        seen.add(sequence);
        highest = Math.max(highest, sequence);
        expect(window.highest).toBe(highest);
      }
    }
  });

  it('counts beyond 32 bits', () => {
    const window = new ReplayWindow();
    window.mark(2 ** 48 - 2);
    expect([window.fresh(2 ** 48 - 1), window.fresh(2 ** 48 - 2), window.fresh(2 ** 48 - 3)]).toEqual([
      true,
      false,
      true,
    ]);
  });
});
