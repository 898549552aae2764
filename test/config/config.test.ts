import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type Config,
  changedKeys,
  exampleConfig,
  formatProblem,
  type LoadOptions,
  loadConfig,
  printConfig,
} from '../../src/config/index.ts';

let cwd = '';
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'holdfast-config-'));
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

function file(text: string, name = 'holdfast.toml'): string {
  const path = join(cwd, name);
  writeFileSync(path, text);
  return path;
}

const load = (options: Partial<LoadOptions> = {}) =>
  loadConfig({ file: options.file ?? file(''), env: {}, set: [], cwd, ...options });

function config(options: Partial<LoadOptions> = {}): Config {
  const loaded = load(options);
  if (!loaded.ok) throw new Error(loaded.problems.map(formatProblem).join('\n'));
  return loaded.config;
}

function problems(text: string, options: Partial<LoadOptions> = {}): readonly string[] {
  const loaded = load({ file: file(text), ...options });
  return loaded.ok ? [] : loaded.problems.map((one) => formatProblem(one).replace(`${cwd}/`, ''));
}

const cloud = '[[upstream]]\nname = "cloud"\nurls = ["mqtt://127.0.0.1:1883"]\ntopics = []\n';

describe('the configuration', () => {
  it('has a default for everything', () => {
    expect(config()).toMatchObject({
      stateDir: join(cwd, 'data'),
      coap: {
        listen: ['coap://127.0.0.1:5683'],
        mode: 'connectionless',
        heartbeat: 30_000,
        blockSize: 1_024,
        ackTimeout: 2_000,
        maxRetransmit: 4,
      },
      mqtt: { listen: ['mqtt://127.0.0.1:1883'], clientCert: 'none' },
      rest: { listen: 'http://127.0.0.1:8080' },
      auth: { anonymous: true, usersFile: join(cwd, 'data/users.toml'), pskFile: join(cwd, 'data/psk.toml'), acl: [] },
      store: { commitDelay: 100, commitGap: 0, history: { maxBytes: 268_435_456, maxAge: 2_592_000_000 } },
      limits: {
        clients: 100_000,
        payload: 65_536,
        subscriptionsPerClient: 100,
        mqttPacket: 131_072,
        restConnections: 256,
      },
      upstream: [],
      shutdownDeadline: 10_000,
    });
  });

  it('fills in an upstream', () => {
    const [upstream] = config({ file: file(cloud) }).upstream;
    expect(upstream).toEqual({
      name: 'cloud',
      urls: ['mqtt://127.0.0.1:1883'],
      topics: [],
      insecure: false,
      keepalive: 60_000,
      protocol: 'auto',
      queue: { maxBytes: 536_870_912, overflow: 'drop_oldest', qos0: true },
      window: 64,
      replay: { rate: 0, bytesRate: 0, order: 'fifo', freshShare: 50, startDelay: 0 },
      ackTimeout: 30_000,
      backoff: { base: 1_000, cap: 60_000 },
    });
  });

  it('takes --set over the environment over conf.d over the file', () => {
    const path = file(
      '[log]\nlevel = "error"\nformat = "json"\n[limits]\nclients = 1\nretained = 1\npayload = "1KiB"\n',
    );
    mkdirSync(join(cwd, 'conf.d'));
    file('[limits]\nclients = 2\nretained = 2\npayload = "2KiB"\n', 'conf.d/a.toml');
    const read = config({
      file: path,
      env: { HOLDFAST_LIMITS__CLIENTS: '3', HOLDFAST_LIMITS__RETAINED: '3', OTHER: 'x', HOLDFAST_PORT: 'tcp://x' },
      set: ['limits.clients=4', 'log.level=debug'],
    });
    expect(read.limits).toMatchObject({ clients: 4, retained: 3, payload: 2_048 });
    expect(read.log).toEqual({ level: 'debug', format: 'json' });
  });

  it('adds the upstreams of a fragment, and sets one key of one', () => {
    const path = file(cloud);
    mkdirSync(join(cwd, 'conf.d'));
    file(cloud.replace('"cloud"', '"second"'), 'conf.d/b.toml');
    const read = config({
      file: path,
      env: { HOLDFAST_UPSTREAM__1__USERNAME: '12', HOLDFAST_UPSTREAM__1__PASSWORD: '0x10' },
    });
    expect(read.upstream.map((one) => one.name)).toEqual(['cloud', 'second']);
    expect(read.upstream[1]).toMatchObject({ username: '12', password: '0x10' });
  });

  it('takes an IPv6 listener, and a topic that goes both ways', () => {
    const both = cloud.replace('[]', '[{ topic = "a/#", direction = "both" }]');
    const read = config({ file: file(`[coap]\nlisten = ["coap://[::1]:5683"]\n${both}`) });
    expect(read.coap.listen).toEqual(['coap://[::1]:5683']);
    expect(read.upstream[0]?.topics).toEqual([
      { topic: 'a/#', direction: 'both', qos: 1, localPrefix: '', remotePrefix: '', keep: 'all' },
    ]);
  });

  it('reads HOLDFAST_CONFIG, and says where a stated file is missing', () => {
    const path = file('[limits]\nclients = 7\n', 'other.toml');
    const loaded = loadConfig({ env: { HOLDFAST_CONFIG: path }, set: [], cwd });
    expect(loaded).toMatchObject({ ok: true, config: { limits: { clients: 7 } }, files: [path] });
    expect(loadConfig({ file: 'nowhere.toml', env: {}, set: [], cwd })).toMatchObject({
      ok: false,
      problems: [{ where: join(cwd, 'nowhere.toml') }],
    });
  });

  it('is not shaken by keys of the object prototype', () => {
    expect(problems('[__proto__]\nx = 1\n[constructor]\ny = 1\n')).toHaveLength(2);
    expect(problems('', { set: ['__proto__.x=1', 'toString=1'] })).toHaveLength(2);
    expect(Object.hasOwn(Object.prototype, 'x')).toBe(false);
  });
});

describe('the problems of a configuration', () => {
  it('come all at once, with their lines', () => {
    const found = problems(
      `[coap]\nmode = "sideways"\nlissten = []\n\n[store]\ncommit_gap = "soon"\n${cloud}queue = { max_bytes = 5 }\n[[upstream]]\nname = "b"\n`,
      { env: { HOLDFAST_LOGG__LEVEL: 'x' }, set: ['limits.clients=none', 'nonsense'] },
    );
    const where = [
      /^holdfast.toml:2: coap.mode: expected "connectionless" or "connection"$/,
      /^holdfast.toml:3: coap.lissten: unknown key; did you mean listen\?$/,
      /^holdfast.toml:6: store.commit_gap: expected a duration/,
      /^holdfast.toml:11: upstream.0.queue.max_bytes: expected a size/,
      /^holdfast.toml:12: upstream.1.urls: is missing$/,
      /^holdfast.toml:12: upstream.1.topics: is missing$/,
      /^HOLDFAST_LOGG__LEVEL: logg.level: unknown key; did you mean log\?$/,
      /^--set: limits.clients: expected a whole number/,
      /^--set: expected key=value$/,
    ];
    for (const one of where) expect(found).toContainEqual(expect.stringMatching(one));
    expect(found).toHaveLength(where.length);
  });

  it('are told for a text that is no TOML, without quoting it', () => {
    const [only, ...more] = problems('[log]\npassword = hush-hush\n');
    expect(more).toEqual([]);
    expect(only).toMatch(/^holdfast.toml:2: /);
    expect(only).not.toContain('hush');
  });

  it.each([
    ['[mqtt]\ncert_file = "a"\n', 'mqtt.cert_file', 'key_file is missing'],
    ['[mqtt]\nlisten = ["mqtts://127.0.0.1:1"]\n', 'mqtt.cert_file', 'is missing'],
    ['[coap]\nlisten = ["coaps://127.0.0.1:1/x"]\n', 'coap.listen.0', 'nothing may follow'],
    ['[coap]\nlisten = ["http://127.0.0.1:1"]\n', 'coap.listen.0', 'coap://'],
    ['[coap]\nkey_file = "a"\n', 'coap.key_file', 'cert_file is missing'],
    ['[coap]\nclient_cert = "required"\n', 'coap.ca_file', 'needs it'],
    ['[rest]\nlisten = "http://127.0.0.1:99999"\n', 'rest.listen', 'port'],
    ['[rest]\nlisten = "ftp://127.0.0.1:1"\n', 'rest.listen', 'https://'],
    ['[rest]\nlisten = "https://127.0.0.1:1"\n', 'rest.cert_file', 'needs both'],
    ['[rest]\ncert_file = "a"\n', 'rest.cert_file', 'key_file is missing'],
    ['[rest]\nkey_file = "a"\n', 'rest.key_file', 'cert_file is missing'],
    ['[limits]\nrest_connections = 0\n', 'limits.rest_connections', 'whole number'],
    [`${cloud}${cloud}`, 'upstream.1.name', 'upstream.0 too'],
    [`${cloud}username="u"\npassword = "a"\npassword_file = "b"\n`, 'upstream.0.password_file', 'one of the two'],
    [cloud.replace('mqtt://', 'mqtt://u:hush@'), 'upstream.0.urls.0', 'username and password'],
    [cloud.replace('[]', '[{ topic = "a/#/b", direction = "out" }]'), 'upstream.0.topics.0.topic', '#'],
    ['[auth]\nacl = [{ effect = "allow", topic = "a+" }]\n', 'auth.acl.0.topic', '+'],
    ['[auth]\nacl = [{ effect = "maybe", topic = "a" }]\n', 'auth.acl.0.effect', '"allow" or "deny"'],
    ['[app]\ntime_zone = "Mars/Base"\n', 'app.time_zone', 'time zone'],
    ['coap = 5\n', 'coap', 'expected a table'],
    ['[coap]\nblock_size = 1000\n', 'coap.block_size', 'power of two'],
    ['[coap]\nlisten = ["coap://::1:5683"]\n', 'coap.listen.0', 'coap://127.0.0.1:5683'],
    [
      cloud.replace('[]', '[{ topic = "a", direction = "out", remote_prefix = "x/#" }]'),
      'upstream.0.topics.0.remote_prefix',
      'without wildcards',
    ],
  ])('%j', (text, key, part) => {
    const found = problems(text);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(` ${key}: `);
    expect(found[0]).toContain(part);
    expect(found[0]).not.toContain('hush');
  });

  it('keep a gateway from listening beyond loopback unstated', () => {
    const open = '[coap]\nlisten = ["coap://0.0.0.0:5683"]\n';
    const [only] = problems(open);
    expect(only).toContain('auth.anonymous');
    expect(only).toContain('holdfast user add');
    expect(problems(`${open}[auth]\nanonymous = false\n`)).toEqual([]);
    expect(problems(open, { usersToCome: true })).toEqual([]);
    mkdirSync(join(cwd, 'data'));
    writeFileSync(join(cwd, 'data/users.toml'), '[users.ann]\nhash = "x"\n');
    expect(config({ file: file(open) }).auth.anonymous).toBe(false);
  });

  it('take coaps beyond loopback as it is: only who has a key comes in', () => {
    const keyed = '[coap]\nlisten = ["coaps://0.0.0.0", "coap://127.0.0.1:5683"]\n';
    expect(problems(keyed)).toEqual([]);
    expect(config({ file: file(keyed) }).auth.anonymous).toBe(true);
    const certified = `${keyed}cert_file = "a"\nkey_file = "b"\n`;
    expect(problems(certified)).toEqual([expect.stringMatching(/coaps:\/\/0\.0\.0\.0 can be reached/)]);
    expect(problems(`${certified}ca_file = "c"\nclient_cert = "required"\n`)).toEqual([]);
    const both = '[coap]\nlisten = ["coaps://0.0.0.0:5684", "coap://0.0.0.0:5683"]\n';
    expect(problems(both)).toEqual([expect.stringMatching(/coap:\/\/0\.0\.0\.0:5683 can be reached/)]);
  });

  it('keep the REST API from listening beyond loopback unstated, unless it is off', () => {
    const [only, ...more] = problems('[rest]\nlisten = "http://0.0.0.0:8080"\n');
    expect(more).toEqual([]);
    expect(only).toMatch(/^holdfast.toml:2: rest.listen: .*auth.anonymous = true.*false/);
    expect(problems('[rest]\nlisten = ""\n')).toEqual([]);
    const secure = '[rest]\nlisten = "https://127.0.0.1:8443"\ncert_file = "a"\nkey_file = "b"\n';
    expect(config({ file: file(secure) }).rest).toEqual({
      listen: 'https://127.0.0.1:8443',
      certFile: 'a',
      keyFile: 'b',
    });
  });

  it('let no anonymous device in on loopback either, once there are users and nothing is stated', () => {
    mkdirSync(join(cwd, 'data'));
    writeFileSync(join(cwd, 'data/users.toml'), '# none yet\n');
    expect(config().auth.anonymous).toBe(true);
    writeFileSync(join(cwd, 'data/users.toml'), '[users.ann]\nhash = "x"\n');
    expect(config().auth.anonymous).toBe(false);
    expect(config({ set: ['auth.anonymous=true'] }).auth.anonymous).toBe(true);
  });
});

describe('what is printed', () => {
  it('hides secrets, and reads back as the same', () => {
    const read = config({ file: file(`${cloud}username = "u"\npassword = "hush-hush"\n`), set: ['log.level=warn'] });
    const printed = printConfig(read);
    expect(printed).not.toContain('hush');
    const [upstream] = read.upstream;
    expect(config({ file: file(printed) })).toEqual({ ...read, upstream: [{ ...upstream, password: '********' }] });
  });

  it('is an example that loads as it is, and with every comment taken off', () => {
    expect(config({ file: file(exampleConfig()) })).toEqual(config());
    const bare = exampleConfig().replace(/^#(?=[a-z[])/gm, '');
    const found = problems(bare).filter((one) => !one.includes('one of the two'));
    expect(found).toEqual([]);
  });
});

describe('a reload', () => {
  it('says what it applies and what waits', () => {
    const old = config();
    const fresh = config({ set: ['log.level=debug', 'auth.anonymous=false', 'coap.heartbeat=60s', 'log.format=json'] });
    expect(changedKeys(old, fresh)).toEqual({
      applied: ['auth.anonymous', 'log.level'],
      needRestart: expect.arrayContaining(['coap.heartbeat', 'log.format']),
    });
    expect(changedKeys(old, old)).toEqual({ applied: [], needRestart: [] });
  });
});
