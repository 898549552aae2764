import { describe, expect, it } from 'vitest';
import { Client, recordsOf, suites } from './support/client.ts';
import { World } from './support/world.ts';

/*
 *   Client                                   Server
 *   1  ClientHello                 ------->
 *   2                              <-------  HelloVerifyRequest
 *   3  ClientHello (cookie)        ------->
 *   4                              <-------  ServerHello, ServerHelloDone
 *   5  ClientKeyExchange, CCS, Fin ------->
 *   6                              <-------  CCS, Finished
 */

/** Data goes both ways. */
function talk(world: World, client: Client, port = 40_000): void {
  world.arrive([client.send('up')], port);
  expect(world.received.at(-1)?.text).toBe('up');
  world.server.send(world.session, Buffer.from('down'));
  for (const datagram of world.take()) client.receive(datagram);
  expect(client.data.at(-1)).toBe('down');
}

describe('a handshake with a pre-shared key', () => {
  it.each(Object.entries(suites))('establishes a session with %s', (_name, suite) => {
    const world = new World();
    const client = world.connect({ suites: [0x1301, suite] });
    expect(client).toMatchObject({ connected: true, suite, ems: true, renegotiation: true, alerts: [] });
    talk(world, client);
    expect(world.session).toMatchObject({ identity: 'dev', address: '192.0.2.1', port: 40_000 });
    expect([world.server.sessions, world.server.handshakes]).toEqual([1, 0]);
  });

  it('takes the first suite that the client offers and it knows', () => {
    expect(new World().connect({ suites: [0xc02b, suites.gcm, suites.ccm8] }).suite).toBe(suites.gcm);
  });

  it('does without the extended master secret where it is not offered, and gives no session to resume', () => {
    const world = new World();
    const client = world.connect({ ems: false });
    expect(client).toMatchObject({ connected: true, ems: false, sessionId: Buffer.alloc(0) });
    talk(world, client);
    expect(world.server.resumable).toBe(0);
  });

  it('answers only the extensions that were offered', () => {
    const world = new World();
    expect(world.connect({ renegotiation: 'none', ems: false })).toMatchObject({
      connected: true,
      renegotiation: false,
      serverCid: undefined,
    });
    expect(world.connect({ renegotiation: 'extension' }, 2)).toMatchObject({ connected: true, renegotiation: true });
  });

  it('takes a Finished that comes before its keys, and does not ask for it again', () => {
    const world = new World();
    const client = new Client();
    const [verify] = world.arrive(client.start());
    const flight = world.arrive(client.receive(verify ?? Buffer.alloc(0)));
    const backwards = flight.flatMap((one) => client.receive(one)).reverse();
    for (const one of world.arrive(backwards)) client.receive(one);
    expect(client.connected).toBe(true);
  });

  it('keeps nothing of a hello without a cookie, from whatever address', () => {
    const world = new World({ maxHellosPerSecond: 1_000_000 });
    for (let n = 0; n < 10_000; n++) {
      const [hello] = new Client().start();
      const answers = world.arrive([hello ?? Buffer.alloc(0)], 1_000 + n, `198.51.100.${n % 250}`);
      expect(answers).toHaveLength(1);
      // no more goes out than came in: nobody is flooded through us
      expect(answers[0]?.length).toBeLessThan(hello?.length ?? 0);
    }
    expect([world.server.handshakes, world.server.sessions]).toEqual([0, 0]);
    expect(world.count('hello_verifies')).toBe(10_000);
  });

  it('numbers its HelloVerifyRequest and ServerHello as the hellos were, RFC 6347 §4.2.1', () => {
    const world = new World();
    const client = new Client();
    client.sequences[0] = 5;
    const [verify] = world.arrive(client.start());
    expect(recordsOf(verify ?? Buffer.alloc(0))).toMatchObject([{ type: 22, epoch: 0, sequence: 5 }]);
    const [flight] = world.arrive(client.receive(verify ?? Buffer.alloc(0)));
    expect(recordsOf(flight ?? Buffer.alloc(0)).map(({ sequence }) => sequence)).toEqual([6, 7]);
  });

  it('takes a cookie for two minutes at most, and only from where it was sent', () => {
    const world = new World();
    const client = new Client();
    const [verify] = world.arrive(client.start());
    const cookied = client.receive(verify ?? Buffer.alloc(0));
    world.arrive(cookied, 40_001);
    expect(world.server.handshakes).toBe(0);
    world.arrive(cookied, 40_000, '192.0.2.2');
    expect(world.server.handshakes).toBe(0);
    expect(world.count('hello_verifies')).toBe(3);
    world.now += 59_000;
    world.arrive(cookied);
    expect(world.server.handshakes).toBe(1);
    world.now += 61_000;
    world.server.tick(world.now);
    expect(world.server.handshakes).toBe(0);
    world.now += 60_000;
    world.arrive(cookied);
    expect(world.server.handshakes).toBe(0);
  });

  it('bounds what it answers in a second', () => {
    const world = new World({ maxHellosPerSecond: 10 });
    const hellos = Array.from({ length: 30 }, () => new Client().start()).flat();
    expect(world.arrive(hellos)).toHaveLength(10);
    expect(world.count('dropped', { reason: 'rate' })).toBe(20);
    world.now += 1_000;
    expect(world.arrive(new Client().start())).toHaveLength(1);
  });

  it('bounds the handshakes that go on, in all and of an address; the oldest gives way', () => {
    const world = new World({ maxHandshakes: 6, maxHandshakesPerAddress: 3 });
    const begin = (port: number, address: string) => {
      const client = new Client();
      const [verify] = world.arrive(client.start(), port, address);
      const flight = world.arrive(client.receive(verify ?? Buffer.alloc(0)), port, address);
      return { client, flight, port, address };
    };
    const first = begin(1, '192.0.2.1');
    const others = [2, 3, 4].map((port) => begin(port, '192.0.2.1'));
    expect(world.server.handshakes).toBe(3);
    const end = ({ client, flight, port, address }: typeof first) =>
      world.finish(
        client,
        flight.flatMap((one) => client.receive(one)),
        port,
        address,
      );
    end(first);
    expect(first.client.connected).toBe(false);
    for (const one of others) end(one);
    expect(others.map(({ client }) => client.connected)).toEqual([true, true, true]);
    for (let n = 0; n < 10; n++) begin(1, `203.0.113.${n}`);
    expect(world.server.handshakes).toBe(6);
    expect(world.count('handshake_failures', { reason: 'displaced' })).toBe(5);
  });
});

describe('a handshake that is refused', () => {
  const alertOf = (world: World, options: ConstructorParameters<typeof Client>[0]) => {
    const client = world.connect(options);
    expect(client.connected).toBe(false);
    expect([world.server.sessions, world.server.handshakes]).toEqual([0, 0]);
    return client.alerts;
  };

  it('ends with handshake_failure where no suite is common: CBC, or those of another version', () => {
    expect(alertOf(new World(), { suites: [0x00ae, 0x008c, 0x1301] })).toEqual(['2/40']);
  });

  it('ends with protocol_version for a client of DTLS 1.0 alone, or of 1.3 alone', () => {
    expect(alertOf(new World(), { version: 0xfeff })).toEqual(['2/70']);
    expect(alertOf(new World(), { supportedVersions: [0xfefc] })).toEqual(['2/70']);
    expect(new World().connect({ supportedVersions: [0xfefc, 0xfefd] }).connected).toBe(true);
  });

  it('ends alike for a wrong key and an identity that is not there', () => {
    const wrongKey = alertOf(new World(), { key: Buffer.alloc(16, 1) });
    const unknown = alertOf(new World(), { identity: 'nobody' });
    const noText = alertOf(new World(), { identity: '\u0000\ufffd' });
    expect([wrongKey, unknown, noText]).toEqual([['2/51'], ['2/51'], ['2/51']]);
  });

  it('ends where the Finished is another, though the keys are right', () => {
    expect(alertOf(new World(), { badFinished: true })).toEqual(['2/51']);
    expect(alertOf(new World(), { badFinished: true, ems: false })).toEqual(['2/51']);
  });

  it('does not take a Finished in the clear', () => {
    const world = new World();
    expect(world.connect({ clearFinished: true }).connected).toBe(false);
    expect(world.server.sessions).toBe(0);
  });

  it('ends where it pretends to renegotiate, or offers no null compression', () => {
    expect(alertOf(new World(), { renegotiation: 'bad' })).toEqual(['2/40']);
    expect(alertOf(new World(), { compressions: [1] })).toEqual(['2/47']);
  });

  it('ends with decode_error for extensions that are none', () => {
    expect(alertOf(new World(), { extra: Buffer.from([0, 1, 0, 9, 9]) })).toEqual(['2/50']);
    expect(alertOf(new World(), { extra: Buffer.from([0, 23, 0, 0]) })).toEqual(['2/50']);
  });

  it('is given up after a minute, and sent again a few times at most', () => {
    const world = new World();
    const client = new Client();
    const [verify] = world.arrive(client.start());
    world.arrive(client.receive(verify ?? Buffer.alloc(0)));
    const again = world.pass(61_000);
    expect(again).toHaveLength(5);
    expect(world.server.handshakes).toBe(0);
    expect(world.count('handshake_failures', { reason: 'timeout' })).toBe(1);
  });

  it('is not sent again to a client that has sent a fatal alert, and goes on if that was forged', () => {
    const world = new World();
    const client = new Client();
    const [verify] = world.arrive(client.start());
    const flight = world.arrive(client.receive(verify ?? Buffer.alloc(0)));
    world.arrive([client.plain(21, Buffer.from([2, 40]))]);
    expect(world.pass(30_000)).toEqual([]);
    world.finish(
      client,
      flight.flatMap((one) => client.receive(one)),
    );
    expect(client.connected).toBe(true);
  });
});

describe('a session', () => {
  it('is resumed by its id', () => {
    const world = new World();
    const first = world.connect({ suites: [suites.gcm] });
    const second = world.connect({ resume: first.ticket, suites: [suites.ccm8, suites.gcm] }, 40_001);
    expect(second).toMatchObject({ connected: true, resumed: true, suite: suites.gcm });
    talk(world, second, 40_001);
    expect(world.session.identity).toBe('dev');
    talk(world, first);
    expect([world.count('handshakes', { kind: 'full' }), world.count('handshakes', { kind: 'resumed' })]).toEqual([
      1, 1,
    ]);
    // and again from the same
    expect(world.connect({ resume: first.ticket, suites: [suites.gcm] }, 40_002).resumed).toBe(true);
  });

  it('is not resumed with another secret, and the cache still has it', () => {
    const world = new World();
    const first = world.connect();
    const thief = new Client({ resume: { id: first.sessionId, master: Buffer.alloc(48) } });
    const [verify] = world.arrive(thief.start(), 2);
    const flight = world.arrive(thief.receive(verify ?? Buffer.alloc(0)), 2);
    // it cannot read the server's Finished, and so makes one up
    for (const one of flight) thief.receive(one);
    const alerts = world.arrive([thief.plain(20, Buffer.from([1])), thief.seal(22, Buffer.alloc(24))], 2);
    for (const one of alerts) thief.receive(one);
    expect(thief.alerts).toEqual(['2/51']);
    expect(world.connect({ resume: first.ticket }, 3).resumed).toBe(true);
  });

  it('is not resumed after its time, at a full cache, or once its key is another', () => {
    const world = new World({ resumableFor: 1_000, maxResumable: 2 });
    const first = world.connect();
    world.connect({}, 2);
    world.connect({}, 3);
    expect(world.server.resumable).toBe(2);
    expect(world.connect({ resume: first.ticket }, 4)).toMatchObject({ connected: true, resumed: false });
    const late = world.connect({}, 5);
    world.now += 1_000;
    expect(world.connect({ resume: late.ticket }, 6)).toMatchObject({ connected: true, resumed: false });
    const revoked = world.connect({}, 7);
    world.server.revoke(new Set(['dev']), world.now);
    expect(world.server.resumable).toBe(0);
    expect(world.connect({ resume: revoked.ticket }, 8)).toMatchObject({ connected: true, resumed: false });
  });

  it('with the extended master secret is not resumed without, RFC 7627 §5.3', () => {
    const world = new World();
    const first = world.connect();
    const second = world.connect({ resume: first.ticket, ems: false }, 2);
    expect(second).toMatchObject({ connected: false, alerts: ['2/40'] });
  });

  it('with a suite that is not offered again is not resumed: a full handshake', () => {
    const world = new World();
    const first = world.connect({ suites: [suites.ccm8] });
    const second = world.connect({ resume: first.ticket, suites: [suites.gcm] }, 2);
    expect(second).toMatchObject({ connected: true, resumed: false, suite: suites.gcm });
  });

  it('lives on until a new hello from its address has proved itself, and is replaced then', () => {
    const world = new World();
    const first = world.connect();
    talk(world, first);
    const old = world.session;
    const second = new Client();
    const [verify] = world.arrive(second.start());
    const flight = world.arrive(second.receive(verify ?? Buffer.alloc(0)));
    talk(world, first);
    world.connect({ key: Buffer.alloc(16, 1) });
    talk(world, first);
    expect(world.ended).toEqual([]);
    // that one displaced the second's handshake; it begins again
    expect(flight.flatMap((one) => second.receive(one))).not.toEqual([]);
    const third = world.connect();
    expect(world.ended).toEqual([{ session: old, reason: 'replaced' }]);
    talk(world, third);
    expect(world.server.sessions).toBe(1);
  });
});
