import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Issued, Pki } from '../coap/dtls/support/pki.ts';
import { Daemon, eventually, holdfast } from './support/daemon.ts';
import { scratch } from './support/peers.ts';
import { Running, run } from './support/process.ts';

/** `coaps` with the clients of others: libcoap on OpenSSL and on GnuTLS, and the two libraries' own programs. */

const toml = (mode: string) =>
  `[coap]\nlisten = ["coaps://127.0.0.1:0", "coap://127.0.0.1:0"]\nmode = "${mode}"\n[rest]\nlisten = "http://127.0.0.1:0"\n` +
  '[auth]\nanonymous = false\nacl = [{ effect = "allow", topic = "of/%u/#" }, { effect = "allow", user = "dev", topic = "#" }]\n';
const place = { connection: scratch(), connectionless: scratch() };
const daemons = {
  connection: new Daemon(place.connection.path, toml('connection')),
  connectionless: new Daemon(place.connectionless.path, toml('connectionless')),
};
/** The clients take the key as text. */
const key = 'sixteen bytes :)';
const hex = Buffer.from(key).toString('hex');
const clients = ['coap-client-openssl', 'coap-client-gnutls'] as const;
const observers: Running[] = [];
let port = { connection: 0, connectionless: 0 };

async function psk(daemon: Daemon, args: readonly string[], input = ''): Promise<string> {
  const { output, code } = await run(holdfast, ['psk', ...args, '--config', daemon.configFile], input);
  expect(code).toBe(0);
  return output;
}

beforeAll(async () => {
  for (const daemon of Object.values(daemons)) {
    await psk(daemon, ['add', 'dev'], `${hex}\n`);
    await daemon.start();
  }
  port = {
    connection: await daemons.connection.port('coaps'),
    connectionless: await daemons.connectionless.port('coaps'),
  };
});

afterAll(async () => {
  for (const observer of observers) await observer.kill();
  for (const daemon of Object.values(daemons)) await daemon.kill('SIGTERM');
  for (const { remove } of Object.values(place)) remove();
});

interface As {
  readonly user?: string;
  readonly key?: string;
  readonly mode?: 'connection' | 'connectionless';
}

const who = ({ user = 'dev', key: secret = key }: As) => ['-u', user, '-k', secret];

/** What a client prints for a request: payload, or code and text of an error. */
async function coaps(client: string, args: readonly string[], path: string, as: As = {}): Promise<string> {
  const url = `coaps://127.0.0.1:${port[as.mode ?? 'connection']}/${path}`;
  return (await run(client, [...who(as), ...args, '-B', '10', url])).output.trim();
}

async function observe(client: string, path: string, as: As = {}): Promise<Running> {
  const url = `coaps://127.0.0.1:${port[as.mode ?? 'connection']}/${path}`;
  const args = [...who(as), '-m', 'get', '-s', '60', '-O', '6,0x00', '-v', '6', '-T', 'obstoken', url];
  const running = new Running('stdbuf', ['-oL', '-eL', client, ...args]);
  observers.push(running);
  await running.outputs(/2\.05|4\.\d\d|5\.\d\d/);
  return running;
}

async function metric(daemon: Daemon, series: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${await daemon.port('http')}/metrics`)).text();
  return Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${series} `))
      ?.slice(series.length),
  );
}

describe.each(clients)('%s', (client) => {
  it('connects without a password, beats, publishes, subscribes, unsubscribes, disconnects', async () => {
    const token = await coaps(client, ['-m', 'post', '-e', ''], `mqtt/connection?clientid=${client}`);
    expect(token).toMatch(/^[A-Za-z0-9_-]{22}$/);
    const caller = `clientid=${client}&token=${token}`;
    const verbose = ['-v', '6', '-e', ''];
    expect(await coaps(client, ['-m', 'put', ...verbose], `mqtt/connection?${caller}`)).toMatch(/2\.01/);
    const observer = await observe(client, `ps/coaps/test?${caller}`);
    expect(await coaps(client, ['-m', 'post', '-v', '6', '-e', 'Hi, this is DTLS'], `ps/coaps/test?${caller}`)).toMatch(
      /2\.04/,
    );
    await observer.outputs(/Hi, this is DTLS/);
    expect(await coaps(client, ['-m', 'get', '-v', '6', '-O', '6,0x01'], `ps/coaps/test?${caller}`)).toMatch(/2\.07/);
    expect(await coaps(client, ['-m', 'delete', ...verbose], `mqtt/connection?${caller}`)).toMatch(/2\.01/);
    expect(await coaps(client, ['-m', 'put', '-e', ''], `mqtt/connection?${caller}`)).toBe(
      '4.01 Invalid token or clientid in connection mode',
    );
  });

  it('does without a connection in connectionless mode: every operation, CON and NON', async () => {
    const as = { mode: 'connectionless' } as const;
    const topic = `ps/less/${client}`;
    const observer = await observe(client, topic, as);
    for (const extra of [[], ['-N']]) {
      await coaps(client, [...extra, '-m', 'post', '-e', `note${extra.length}`], `${topic}?retain=1`, as);
      await observer.outputs(new RegExp(`note${extra.length}`));
    }
    expect(await coaps(client, ['-m', 'get'], topic, as)).toBe('note1');
    expect(await coaps(client, ['-m', 'get'], 'ps/none', as)).toBe('4.04');
    expect(await coaps(client, ['-m', 'get'], '.well-known/core?rt=core.ps', as)).toBe('</ps>;rt="core.ps";ct=40');
  });

  it('uploads and downloads in blocks', async () => {
    const as = { mode: 'connectionless' } as const;
    const file = join(place.connectionless.path, `big-${client}`);
    const text = Array.from({ length: 3_000 }, (_, n) => `${n}`.padStart(9, '.'))
      .join(' ')
      .slice(0, 20_000);
    writeFileSync(file, text);
    for (const size of ['64', '1024']) {
      const topic = `ps/big/${client}/${size}?retain=1`;
      expect(await coaps(client, ['-m', 'post', '-b', size, '-v', '6', '-f', file], topic, as)).toMatch(/2\.04/);
      expect(await coaps(client, ['-m', 'get', '-b', size], topic, as)).toBe(text.trim());
    }
  });

  it('is refused with an alert for a wrong key, alike for an unknown identity, and without any', async () => {
    const told: string[] = [];
    for (const as of [{ key: 'another sixteen!' }, { user: 'nobody' }]) {
      told.push(await coaps(client, ['-m', 'get'], '.well-known/core', as));
    }
    for (const one of told) expect(one).toMatch(/decrypt error/i);
    const url = `coaps://127.0.0.1:${port.connection}/.well-known/core`;
    expect((await run(client, ['-m', 'get', '-B', '10', url])).output).toMatch(/handshake fail/i);
  });

  it('cannot speak for another user', async () => {
    expect(
      await coaps(client, ['-m', 'post', '-e', ''], 'mqtt/connection?clientid=x&username=boss&password=public'),
    ).toBe('4.01 Login Failed: not_authorized');
  });
});

describe('openssl s_client', () => {
  const connect = (args: readonly string[]) =>
    run('timeout', ['20', 'openssl', 's_client', '-connect', `127.0.0.1:${port.connection}`, ...args], '');
  const keyed = ['-psk_identity', 'dev', '-psk', hex];

  it.each(['PSK-AES128-CCM8', 'PSK-AES128-CCM', 'PSK-AES128-GCM-SHA256'])('agrees on %s', async (suite) => {
    const { output } = await connect(['-dtls1_2', ...keyed, '-cipher', suite]);
    expect(output).toContain(`New, TLSv1.2, Cipher is ${suite}`);
    expect(output).toContain('Secure Renegotiation IS supported');
    expect(output).toContain('Extended master secret: yes');
  });

  it('resumes a session', async () => {
    const file = join(place.connection.path, 'session.pem');
    await connect(['-dtls1_2', ...keyed, '-cipher', 'PSK-AES128-CCM8', '-sess_out', file]);
    const { output } = await connect(['-dtls1_2', ...keyed, '-cipher', 'PSK-AES128-CCM8', '-sess_in', file]);
    expect(output).toContain('Reused, TLSv1.2, Cipher is PSK-AES128-CCM8');
    expect(await metric(daemons.connection, 'holdfast_dtls_handshakes_total{kind="resumed"}')).toBe(1);
  });

  it('is refused with CBC alone, and with another version', async () => {
    expect((await connect(['-dtls1_2', ...keyed, '-cipher', 'PSK-AES128-CBC-SHA256'])).output).toContain(
      'alert handshake failure',
    );
    expect((await connect(['-dtls1', ...keyed, '-cipher', 'PSK:@SECLEVEL=0'])).output).toContain(
      'alert protocol version',
    );
  });

  it('reads a small maximum of the handshake’s datagrams', async () => {
    const { output } = await connect(['-dtls1_2', ...keyed, '-cipher', 'PSK-AES128-CCM8', '-mtu', '256']);
    expect(output).toContain('Cipher is PSK-AES128-CCM8');
  });
});

describe('gnutls-cli', () => {
  it.each(['AES-128-CCM-8', 'AES-128-CCM', 'AES-128-GCM'])('agrees on %s', async (cipher) => {
    const priority = `NONE:+VERS-DTLS1.2:+PSK:+${cipher}:+AEAD:+SIGN-ALL:+COMP-NULL:+GROUP-ALL`;
    const args = ['--udp', '--pskusername=dev', `--pskkey=${hex}`, `--priority=${priority}`];
    const { output } = await run('timeout', ['20', 'gnutls-cli', ...args, '-p', `${port.connection}`, '127.0.0.1'], '');
    expect(output).toMatch(new RegExp(`Description: \\(DTLS1\\.2[^)]*\\)-\\(PSK\\)-\\(${cipher}\\)`));
    expect(output).toContain('Handshake was completed');
  });
});

describe('certificates', () => {
  const pki = new Pki();
  const { path, remove } = scratch();
  let daemon: Daemon;
  let files: { authority: Issued; server: Issued; device: Issued; stranger: Issued };
  let at = 0;

  beforeAll(async () => {
    const authority = pki.issue({ name: 'authority', ca: true });
    const server = pki.issue({ name: 'localhost', by: authority, extensions: 'subjectAltName=IP:127.0.0.1' });
    const device = pki.issue({ name: 'pump-7', by: authority });
    files = { authority, server, device, stranger: pki.issue({ name: 'pump-7' }) };
    daemon = new Daemon(
      path,
      `[coap]\nlisten = ["coaps://127.0.0.1:0"]\ncert_file = "${server.certFile}"\nkey_file = "${server.keyFile}"\n` +
        `ca_file = "${authority.certFile}"\nclient_cert = "optional"\n[auth]\nanonymous = false\n`,
    );
    await daemon.start();
    at = await daemon.port('coaps');
  });
  afterAll(async () => {
    await daemon.kill('SIGTERM');
    pki.remove();
    remove();
  });

  it.each(clients)('let %s in as the name in its own, and only so', async (client) => {
    const url = `coaps://127.0.0.1:${at}/mqtt/connection?clientid=${client}`;
    const ask = ['-m', 'post', '-e', '', '-B', '10', '-C', files.authority.certFile];
    const own = ['-c', files.device.certFile, '-j', files.device.keyFile];
    expect((await run(client, [...ask, ...own, url])).output.trim()).toMatch(/^[A-Za-z0-9_-]{22}$/);
    expect((await run(client, [...ask, ...own, `${url}&username=boss`])).output.trim()).toBe(
      '4.01 Login Failed: not_authorized',
    );
    // no certificate: the session is encrypted, and nobody's
    const none = ['-R', files.authority.certFile, ...ask.slice(0, -2)];
    expect((await run(client, [...none, url])).output.trim()).toBe('4.01 Login Failed: not_authorized');
    const strange = ['-c', files.stranger.certFile, '-j', files.stranger.keyFile];
    expect((await run(client, [...ask, ...strange, url])).output).toMatch(/bad certificate|certificate is bad/i);
  });

  it.each(['CCM8', 'CCM', 'GCM-SHA256'])('are understood by openssl with ECDHE-ECDSA-AES128-%s', async (suite) => {
    const own = ['-cert', files.device.certFile, '-key', files.device.keyFile, '-CAfile', files.authority.certFile];
    const args = ['-dtls1_2', '-connect', `127.0.0.1:${at}`, '-cipher', `ECDHE-ECDSA-AES128-${suite}:@SECLEVEL=0`];
    for (const extra of [[], ['-mtu', '300']]) {
      const { output } = await run('timeout', ['20', 'openssl', 's_client', ...args, ...own, ...extra], '');
      expect(output).toContain(`Cipher is ECDHE-ECDSA-AES128-${suite}`);
      expect(output).toContain('Verify return code: 0 (ok)');
    }
  });

  it('that cannot be used keep the daemon from starting, with the reason', async () => {
    const bad = ['--set', `coap.key_file=${files.device.keyFile}`, '--set', `state_dir=${path}/other`];
    const { output, code } = await run(holdfast, ['run', '--config', daemon.configFile, ...bad]);
    expect(code).toBe(1);
    expect(output).toContain('the key is not that of the certificate');
  });
});

describe('a network that loses datagrams', () => {
  it.each(clients)('does not keep %s from its handshakes and its blocks', async (client) => {
    const file = join(place.connectionless.path, `lossy-${client}`);
    writeFileSync(file, 'y'.repeat(4_000));
    const url = `coaps://127.0.0.1:${port.connectionless}/ps/lossy/${client}`;
    // the client's first hello, a part of its second flight, and some of what follows
    const lost = ['-l', '1,4,9,14,20'];
    const args = [...who({}), ...lost, '-m', 'post', '-b', '1024', '-B', '60', '-v', '6', '-f', file, url];
    expect((await run(client, args)).output).toMatch(/2\.04/);
  });
});

describe('a key', () => {
  it('is taken while the daemon runs; removed, it ends what goes on with it', async () => {
    const [client] = clients;
    const secret = 'late, not useless';
    const as = { mode: 'connectionless', user: 'late', key: secret } as const;
    await psk(daemons.connectionless, ['add', 'late'], Buffer.from(secret).toString('hex'));
    expect(statSync(join(daemons.connectionless.stateDir, 'psk.toml')).mode & 0o777).toBe(0o600);
    expect(await psk(daemons.connectionless, ['list'])).toBe('dev\nlate\n');
    expect(await coaps(client, ['-m', 'post', '-v', '6', '-e', 'x'], 'ps/of/late/x', as)).toMatch(/2\.04/);
    expect(await coaps(client, ['-m', 'post', '-e', 'x'], 'ps/of/dev/x', as)).toMatch(/^4\.01/);
    await observe(client, 'ps/of/late/y', as);
    const sessions = () => metric(daemons.connectionless, 'holdfast_coap_observers');
    const before = await sessions();
    await psk(daemons.connectionless, ['remove', 'late']);
    await eventually(async () => (await sessions()) === before - 1, 'the observation ends with the key');
    expect(await coaps(client, ['-m', 'get'], '.well-known/core', as)).toMatch(/decrypt error/i);
    expect(daemons.connectionless.output).not.toContain(Buffer.from(secret).toString('hex'));
    expect(daemons.connectionless.output).not.toContain(hex);
  });

  it('that was made up works', async () => {
    const made = /: ([0-9a-f]{32})\n/.exec(await psk(daemons.connection, ['add', 'made', '--generate']))?.[1] ?? '';
    const args = ['-connect', `127.0.0.1:${port.connection}`, '-psk_identity', 'made', '-psk', made];
    const { output } = await run('timeout', ['20', 'openssl', 's_client', '-dtls1_2', ...args, '-cipher', 'PSK'], '');
    expect(output).toMatch(/Cipher is PSK-AES128/);
  });

  it('may be missing at the start, which is told', async () => {
    const { path, remove } = scratch();
    const bare = new Daemon(path, '[coap]\nlisten = ["coaps://127.0.0.1:0"]\n');
    try {
      await bare.start();
      expect(bare.output).toMatch(/no device can come in over coaps.*holdfast psk add/);
    } finally {
      await bare.kill('SIGTERM');
      remove();
    }
  });
});

it('is in the list of listeners', async () => {
  const urls = (await daemons.connection.status()).listeners;
  expect(urls.filter((url) => url.startsWith('coaps://127.0.0.1:'))).toHaveLength(1);
});
