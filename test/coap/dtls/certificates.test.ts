import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ServerCertificate } from '../../../src/coap/dtls/certificates.ts';
import { Client, type ClientOptions, certified, suites } from './support/client.ts';
import { type Issued, Pki } from './support/pki.ts';
import { World } from './support/world.ts';

const pki = new Pki();
let authority: Issued;
let middle: Issued;
let server: Issued;
let device: Issued;

beforeAll(() => {
  authority = pki.issue({ name: 'authority', ca: true });
  middle = pki.issue({ name: 'middle', by: authority, ca: true });
  server = pki.issue({ name: 'gateway', by: authority });
  device = pki.issue({ name: 'pump-7', by: authority });
});
afterAll(() => pki.remove());

type Asked = 'none' | 'optional' | 'required';

const world = (clientCertificate: Asked = 'none', options = {}) => {
  const { certificate: chain, key } = server;
  const certificate = new ServerCertificate({ chain, key, authorities: authority.certificate, clientCertificate });
  return new World({ maxHandshakeMessage: 8_192, maxRetransmissions: 100, ...options }, { certificate });
};

const offer = { suites: [certified.ccm8] };
const holds = (one: Issued, chain = [one.der]): ClientOptions => ({
  ...offer,
  certificate: { chain, key: one.keyObject },
});

function identityOf(it: World, client: Client): string | undefined {
  it.arrive([client.send('x')]);
  return it.session.identity;
}

describe('a handshake with the server’s certificate', () => {
  it.each(Object.entries(certified))('establishes a session with %s', (_name, suite) => {
    const it = world();
    const client = it.connect({ suites: [suite] });
    expect(client).toMatchObject({ connected: true, suite, ems: true, requested: false, alerts: [] });
    expect(client.serverChain).toEqual([server.der]);
    expect(identityOf(it, client)).toBeUndefined();
    expect(it.connect({ suites: [suite], resume: client.ticket }, 2)).toMatchObject({ connected: true, resumed: true });
  });

  it('does without the extended master secret too', () => {
    expect(world().connect({ ...offer, ems: false }).connected).toBe(true);
  });

  it('is not offered without a certificate, to a client of other curves, or of other signatures', () => {
    for (const [it, options] of [
      [new World(), {}],
      [world(), { groups: [29] }],
      [world(), { signatures: [0x0401, 0x0203] }],
    ] as const) {
      expect(it.connect({ ...offer, ...options })).toMatchObject({ connected: false, alerts: ['2/40'] });
      expect(it.connect({ suites: [certified.ccm8, suites.ccm8], ...options }, 2).suite).toBe(suites.ccm8);
    }
  });
});

describe('a client certificate', () => {
  it('gives the session the common name of its subject, also when it is resumed', () => {
    const it = world('required');
    const client = it.connect(holds(device));
    expect(client).toMatchObject({ connected: true, requested: true, alerts: [] });
    expect(identityOf(it, client)).toBe('pump-7');
    const again = it.connect({ ...offer, resume: client.ticket });
    expect(identityOf(it, again)).toBe('pump-7');
  });

  it('may come with those between it and the authority', () => {
    const leaf = pki.issue({ name: 'deep', by: middle });
    const it = world('required');
    expect(identityOf(it, it.connect(holds(leaf, [leaf.der, middle.der])))).toBe('deep');
    expect(it.connect(holds(leaf), 2)).toMatchObject({ connected: false, alerts: ['2/42'] });
  });

  it('may be missing where it is optional, and not where it is required', () => {
    const none = { ...offer, certificate: { chain: [] } };
    const it = world('optional');
    const client = it.connect(none);
    expect(client.connected).toBe(true);
    expect(identityOf(it, client)).toBeUndefined();
    expect(world('required').connect(none)).toMatchObject({ connected: false, alerts: ['2/40'] });
  });

  it('is nothing without its key', () => {
    const it = world('optional');
    const certificate = { chain: [device.der], key: device.keyObject, forged: true };
    expect(it.connect({ ...offer, certificate })).toMatchObject({ connected: false, alerts: ['2/51'] });
    // another's certificate with one's own key
    const other = { chain: [device.der], key: server.keyObject };
    expect(it.connect({ ...offer, certificate: other })).toMatchObject({ connected: false, alerts: ['2/51'] });
    // no CertificateVerify at all
    expect(it.connect({ ...offer, certificate: { chain: [device.der] } })).toMatchObject({ connected: false });
    expect([it.server.sessions, it.count('handshake_failures', { reason: 'certificate' })]).toEqual([0, 2]);
  });

  it('is refused from another authority, of another kind, or with a name that is none', () => {
    const stranger = pki.issue({ name: 'stranger', ca: true });
    const notCa = pki.issue({ name: 'not-ca', by: authority });
    const bad: readonly [string, Issued, Buffer[]?][] = [
      ['another authority', pki.issue({ name: 'pump-7', by: stranger })],
      ['of its own making', pki.issue({ name: 'pump-7' })],
      ['an authority itself', middle],
      ['another curve', pki.issue({ name: 'pump-7', by: authority, curve: 'secp384r1' })],
      ['for servers', pki.issue({ name: 'pump-7', by: authority, extensions: 'extendedKeyUsage=serverAuth' })],
      ['a name with a space', pki.issue({ name: 'pump 7', by: authority })],
      ['no name', pki.issue({ name: '', by: authority, subject: '/O=x' })],
      ['two names', pki.issue({ name: '', by: authority, subject: '/CN=a/CN=pump-7' })],
    ];
    for (const [what, one] of bad) {
      const client = world('optional').connect(holds(one));
      expect([what, client.connected, client.alerts]).toEqual([what, false, ['2/42']]);
    }
    const below = pki.issue({ name: 'pump-7', by: notCa });
    expect(world('optional').connect(holds(below, [below.der, notCa.der])).connected).toBe(false);
    const usable = pki.issue({ name: 'pump-7', by: authority, extensions: 'extendedKeyUsage=clientAuth' });
    expect(world('optional').connect(holds(usable)).connected).toBe(true);
  });

  it('is refused before and after its time', () => {
    for (const days of [-2, 31]) {
      const it = world('optional');
      it.wall += days * 86_400_000;
      expect(it.connect(holds(device))).toMatchObject({ connected: false, alerts: ['2/42'] });
    }
  });

  it('survives loss and reordering in small datagrams', () => {
    let state = 1;
    const random = () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
      return state / 0x8000_0000;
    };
    for (let run = 0; run < 10; run++) {
      const it = world('required', { maxHandshakeDatagram: 200, handshakeTimeout: 600_000 });
      const client = new Client({ ...holds(device), fragment: 100 });
      const faulty = (datagrams: readonly Buffer[]) =>
        datagrams.filter(() => random() > 0.1).sort(() => random() - 0.5);
      let upwards = client.start();
      for (let round = 0; round < 60 && !client.connected; round++) {
        let downwards = it.arrive(faulty(upwards));
        if (downwards.length === 0) downwards = it.pass(2_000);
        upwards = faulty(downwards).flatMap((one) => client.receive(one));
        if (upwards.length === 0 && round % 2 === 1) upwards = client.resend();
      }
      expect(client.connected).toBe(true);
      expect(identityOf(it, client)).toBe('pump-7');
    }
  });
});

describe('the server’s certificate', () => {
  it('is refused with a reason where it cannot be used', () => {
    const other = pki.issue({ name: 'gateway', by: authority, curve: 'secp384r1' });
    const parts = { clientCertificate: 'none' as const };
    for (const [chain, key, reason] of [
      [server.certificate, device.key, 'not that of the certificate'],
      [other.certificate, other.key, 'P-256'],
      ['nothing', server.key, 'no certificate'],
      [server.certificate, 'nothing', 'cannot be used'],
    ] as const) {
      expect(() => new ServerCertificate({ ...parts, chain, key })).toThrow(reason);
    }
  });
});
