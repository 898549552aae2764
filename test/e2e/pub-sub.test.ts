import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { freePort } from '../support/ports.ts';
import { Daemon, eventually, holdfast } from './support/daemon.ts';
import { coapClient, Mosquitto, publish, scratch, subscriber } from './support/peers.ts';
import { Running, run } from './support/process.ts';

/** `holdfast pub` and `holdfast sub` as a technician has them, beside real peers. */

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

function place(): string {
  const made = scratch();
  cleanups.push(made.remove);
  return made.path;
}

async function started(toml = '', path = place()): Promise<Daemon> {
  const daemon = new Daemon(path, toml);
  cleanups.push(() => daemon.kill());
  await daemon.start();
  return daemon;
}

/** What runs until it is told to end. */
function spawned(command: string, args: readonly string[]): Running {
  const running = new Running(command, args);
  cleanups.push(() => running.kill());
  return running;
}

const at = (daemon: Daemon, ...words: string[]) => [...words, '--config', daemon.configFile];

async function listening(daemon: Daemon, ...words: string[]): Promise<Running> {
  const running = spawned(holdfast, at(daemon, 'sub', ...words));
  await running.outputs(/listening at/);
  return running;
}

/** The lines of standard output, as far as they are JSON. */
const objects = (output: string) =>
  output
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);

const connectionless = '[coap]\nlisten = ["coap://127.0.0.1:0"]\nheartbeat = "2s"\n';
const connection = `${connectionless}mode = "connection"\n`;

describe.each([
  ['MQTT', connectionless, []],
  ['CoAP without a connection', connectionless, ['--coap']],
  ['CoAP with a connection', connection, ['--coap']],
] as const)('over %s', (_name, toml, how) => {
  it('pub is heard by mosquitto_sub, from an argument and from standard input', async () => {
    const daemon = await started(toml);
    const peer = await subscriber(await daemon.port('mqtt'), '#');
    cleanups.push(() => peer.kill());
    expect(await run(holdfast, at(daemon, 'pub', 'a/one', 'hello you', ...how))).toEqual({ output: '', code: 0 });
    const large = 'x'.repeat(40_000);
    expect(await run(holdfast, at(daemon, 'pub', 'a/two', ...how, '--qos', '2'), large)).toMatchObject({ code: 0 });
    expect(await run(holdfast, at(daemon, 'pub', 'kept', 'r', '--retain', '--qos', '0', ...how))).toMatchObject({
      code: 0,
    });
    await peer.outputs((output) =>
      ['a/one hello you\n', `a/two ${large}\n`, 'kept r\n'].every((line) => output.includes(line)),
    );
    const late = await subscriber(await daemon.port('mqtt'), 'kept');
    cleanups.push(() => late.kill());
    await late.outputs(/^kept r$/m);
  });

  it('sub hears mosquitto_pub, coap-client and pub, and ends after --count', async () => {
    const daemon = await started(`${toml}[auth]\nanonymous = true\n`);
    const [mqtt, coap] = [await daemon.port('mqtt'), await daemon.port('coap')];
    const plain = await listening(daemon, 'a/#', '--count', '4', ...how);
    const json = await listening(daemon, 'a/#', '--json', '--count', '4', '--timeout', '20s', ...how);
    expect((await publish(mqtt, 'a/m', 'by mosquitto', ['-q', '1'])).code).toBe(0);
    const login = await run(coapClient, ['-m', 'post', `coap://127.0.0.1:${coap}/mqtt/connection?clientid=dev`]);
    const query = `clientid=dev&token=${login.output.trim()}`;
    await run(coapClient, ['-m', 'post', '-e', 'by libcoap', `coap://127.0.0.1:${coap}/ps/a/c?${query}`]);
    const large = Buffer.alloc(5_000, 0xfe);
    const third = new Running(holdfast, at(daemon, 'pub', 'a/p', ...how));
    third.child.stdin?.end(large);
    expect(await third.end()).toBe(0);
    expect((await run(holdfast, at(daemon, 'pub', 'a/p', '\u001b[2J', ...how))).code).toBe(0);
    expect(await plain.end()).toBe(0);
    expect(await json.end()).toBe(0);
    const topics = how.length === 0 ? ['a/m', 'a/c', 'a/p', 'a/p'] : ['a/#', 'a/#', 'a/#', 'a/#'];
    expect(plain.output.split('\n').slice(1)).toEqual([
      `${topics[0]} by mosquitto`,
      `${topics[1]} by libcoap`,
      `${topics[2]} ${'\\xfe'.repeat(5_000)}`,
      `${topics[3]} \\x1b[2J`,
      '',
    ]);
    const heard = objects(json.output);
    expect(heard.map(({ topic, filter }) => topic ?? filter)).toEqual(topics);
    expect(heard.map(({ payload }) => payload)).toEqual([
      'by mosquitto',
      'by libcoap',
      large.toString('base64'),
      '\u001b[2J',
    ]);
    expect(heard.map(({ encoding }) => encoding)).toEqual([undefined, undefined, 'base64', undefined]);
  });

  it('sub ends in order when it is told to, after --timeout, and when nobody reads', async () => {
    const daemon = await started(toml);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      expect(await (await listening(daemon, '#', ...how)).kill(signal)).toBe(0);
    }
    const late = await run(holdfast, at(daemon, 'sub', '#', '--timeout', '300ms', ...how));
    expect(late.code).toBe(1);
    expect(late.output).toContain('no message within 300ms');
    await eventually(async () => {
      const { clients } = await daemon.status();
      return clients.coap + clients.mqtt === 0;
    }, 'nobody is connected');
    const command = `"$0" "$@" | head -1; echo "ended \${PIPESTATUS[*]}"`;
    const piped = spawned('bash', ['-c', command, holdfast, ...at(daemon, 'sub', '#', ...how)]);
    await piped.outputs(/listening at/);
    // it is the message after its reader is gone that finds out
    for (let n = 0; !piped.exited && n < 50; n++) await run(holdfast, at(daemon, 'pub', 'a', `${n}`, ...how));
    await piped.end();
    expect(piped.output.replace(/^holdfast: listening.*\n/, '')).toMatch(/^(?:a|#) 0\nended 0 0\n$/);
  });

  it('a login is asked for, and what is not allowed is refused', async () => {
    const rules = '[auth]\nanonymous = false\nacl = [{ effect = "allow", user = "ann", topic = "a/#" }]\n';
    const daemon = await started(`${toml}${rules}`);
    await run(holdfast, at(daemon, 'user', 'add', 'ann'), 'right-hush\n');
    const path = place();
    const [right, wrong] = [join(path, 'right'), join(path, 'wrong')];
    writeFileSync(right, 'right-hush\n');
    writeFileSync(wrong, 'wrong-hush\n');
    const login = ['--username', 'ann', '--password-file', right];
    const hears = await listening(daemon, 'a/#', '--count', '2', ...login, ...how);
    expect(await run(holdfast, at(daemon, 'pub', 'a/b', 'x', ...login, ...how))).toEqual({ output: '', code: 0 });
    const typed = at(daemon, 'pub', 'a/b', 'y', '--username', 'ann', ...how);
    expect(await run(holdfast, typed, 'right-hush\n')).toEqual({ output: '', code: 0 });
    expect(await hears.end()).toBe(0);
    const outputs = [hears.output, daemon.output];
    for (const [words, reason] of [
      [['pub', 'a/b', 'x'], /refused: .*not.authori[sz]ed; who logs in gives --username NAME/],
      [
        ['pub', 'a/b', 'x', '--username', 'ann', '--password-file', wrong],
        /wrong user name|Login Failed: not_authorized/,
      ],
      [['pub', 'b', 'x', ...login], /not authori[sz]ed.*(?:auth\.acl|by the access rules)|(?:auth\.acl|access rules)/],
      [['sub', 'b/#', ...login], /"b\/#": refused/],
      [['sub', 'a/#'], /refused/],
    ] as const) {
      const { output, code } = await run(holdfast, at(daemon, ...words, ...how));
      expect({ code, output }).toEqual({ code: 1, output: expect.stringMatching(reason) });
      outputs.push(output);
    }
    expect(outputs.join('')).not.toContain('hush');
  });

  it('a payload that is too large is refused, and says so', async () => {
    const daemon = await started(toml);
    const { output, code } = await run(holdfast, at(daemon, 'pub', 'a', ...how), 'x'.repeat(70_000));
    expect(code).toBe(1);
    expect(output).toContain('the payload has 70000 bytes, and limits.payload is 64KiB');
  });

  it('a gateway that restarts is found again; one that is not there is an error', async () => {
    const [coap, mqtt] = [await freePort(), await freePort()];
    const path = place();
    const fixed = toml.replace('127.0.0.1:0', `127.0.0.1:${coap}`);
    const daemon = await started(`${fixed}[mqtt]\nlisten = ["mqtt://127.0.0.1:${mqtt}"]\n`, path);
    const hears = await listening(daemon, 'a', ...how);
    await daemon.kill();
    for (const command of ['pub', 'sub']) {
      const { output, code } = await run(
        holdfast,
        at(daemon, command, 'a', ...(command === 'pub' ? ['x'] : []), ...how),
      );
      expect(code).toBe(1);
      expect(output).toMatch(/nobody listens.*the daemon is not running/);
    }
    await hears.outputs(/trying again/);
    await daemon.start();
    await hears.outputs(/listening at .* again/);
    expect((await run(holdfast, at(daemon, 'pub', 'a', 'after', ...how))).code).toBe(0);
    await hears.outputs(/^a after$/m);
    expect(await hears.kill('SIGINT')).toBe(0);
  });
});

describe('over TLS', () => {
  it('the gateway has to show the certificate of its configuration, whatever name is in it', async () => {
    const path = place();
    const file = (name: string) => join(path, name);
    const openssl = async (...words: string[]) => expect((await run('openssl', words)).code).toBe(0);
    const key = (name: string) => [
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      file(name),
    ];
    await openssl('req', '-x509', ...key('ca.key'), '-days', '2', '-subj', '/CN=ca', '-out', file('ca.pem'));
    for (const name of ['gateway', 'other']) {
      await openssl('req', ...key(`${name}.key`), '-subj', `/CN=${name}.example.com`, '-out', file(`${name}.csr`));
      const by = ['-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-CAcreateserial', '-days', '2'];
      await openssl('x509', '-req', '-in', file(`${name}.csr`), ...by, '-out', file(`${name}.pem`));
      writeFileSync(
        file(`${name}.chain`),
        readFileSync(file(`${name}.pem`), 'utf8') + readFileSync(file('ca.pem'), 'utf8'),
      );
    }
    const ports = [await freePort(), await freePort()];
    const listen = (first: string, second: string) =>
      `[mqtt]\nlisten = ["${first}://127.0.0.1:${ports[0]}", "${second}://127.0.0.1:${ports[1]}"]\n` +
      `cert_file = "${file('gateway.chain')}"\nkey_file = "${file('gateway.key')}"\n`;
    const daemon = await started(listen('mqtts', 'wss'), path);
    const swap = (first: string) => ['--set', `mqtt.listen=["${first}"]`];
    for (const set of [[], swap(`wss://127.0.0.1:${ports[1]}`)]) {
      expect(await run(holdfast, at(daemon, 'pub', 'a', 'x', ...set))).toEqual({ output: '', code: 0 });
      const shown = (name: string) => ['--set', `mqtt.cert_file="${file(name)}"`];
      expect(await run(holdfast, at(daemon, 'pub', 'a', 'x', ...set, ...shown('gateway.pem')))).toMatchObject({
        code: 0,
      });
      // of the same authority, and another all the same
      expect(await run(holdfast, at(daemon, 'pub', 'a', 'x', ...set, ...shown('other.chain')))).toMatchObject({
        code: 1,
        output: expect.stringMatching(/certificate of .* is not trusted: it is another than the configuration names/),
      });
    }
    for (const more of [[], ['--ca', file('ca.pem')]]) {
      const url = `mqtts://127.0.0.1:${ports[0]}`;
      const refused = await run(holdfast, ['pub', 'a', 'x', '--to', url, ...more]);
      expect(refused).toMatchObject({ code: 1, output: expect.stringMatching(/certificate of .* is not trusted/) });
    }
  });
});

describe('a listener that asks for client certificates', () => {
  it('is told of by its refusal, and let in with --cert and --key', async () => {
    const path = place();
    const file = (name: string) => join(path, name);
    const made = async (name: string, subject: string) => {
      const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', file(`${name}.key`)];
      const self = ['req', '-x509', ...key, '-days', '2', '-subj', `/CN=${subject}`, '-out', file(`${name}.pem`)];
      expect((await run('openssl', self)).code).toBe(0);
    };
    await made('server', 'gateway');
    await made('user', 'ann');
    const daemon = await started(
      `[mqtt]
listen = ["mqtts://127.0.0.1:${await freePort()}"]
cert_file = "${file('server.pem')}"
key_file = "${file('server.key')}"
ca_file = "${file('user.pem')}"
client_cert = "required"
use_identity_as_username = true
[auth]
anonymous = false
acl = [{ effect = "allow", user = "ann", topic = "a" }]
`,
      path,
    );
    const { code, output } = await run(holdfast, at(daemon, 'pub', 'a', 'x'));
    expect({ code, output }).toEqual({ code: 1, output: expect.stringContaining('--cert and --key') });
    const shown = ['--cert', file('user.pem'), '--key', file('user.key')];
    const hears = await listening(daemon, 'a', '--count', '1', ...shown);
    expect(await run(holdfast, at(daemon, 'pub', 'a', 'x', ...shown))).toEqual({ output: '', code: 0 });
    expect(await hears.end()).toBe(0);
  });
});

describe('another broker', () => {
  it('is spoken to in MQTT 5, and says what it refuses', async () => {
    const path = place();
    writeFileSync(join(path, 'acl'), 'topic readwrite x/#\n');
    const broker = new Mosquitto(await freePort(), path, { extra: `acl_file ${join(path, 'acl')}\n` });
    await broker.start();
    cleanups.push(() => broker.stop());
    const to = ['--to', `mqtt://127.0.0.1:${broker.port}`];
    const hears = spawned(holdfast, ['sub', 'x/#', '--json', '--count', '2', ...to]);
    await hears.outputs(/listening at/);
    const five = ['-V', '5', '-q', '1', '-D', 'publish', 'user-property', 'k', 'v'];
    await publish(broker.port, 'x/1', 'hi', [...five, '-D', 'publish', 'content-type', 'text/plain']);
    expect(await run(holdfast, ['pub', 'x/2', 'ho', ...to, '--qos', '2'])).toEqual({ output: '', code: 0 });
    expect(await hears.end()).toBe(0);
    expect(objects(hears.output)).toMatchObject([
      { topic: 'x/1', payload: 'hi', qos: 1, retain: false, userProperties: { k: 'v' }, contentType: 'text/plain' },
      { topic: 'x/2', payload: 'ho', qos: 1, retain: false },
    ]);
    for (const qos of ['1', '2']) {
      expect(await run(holdfast, ['pub', 'y', 'x', ...to, '--qos', qos])).toMatchObject({
        code: 1,
        output: expect.stringContaining('the message to y was refused: not authorised'),
      });
    }
  });

  it('of MQTT 3.1.1 is spoken to as well, and a gateway by its URL', async () => {
    const daemon = await started();
    const to = ['--to', `mqtt://127.0.0.1:${await daemon.port('mqtt')}`];
    const hears = spawned(holdfast, ['sub', 'x', '--count', '2', ...to]);
    await hears.outputs(/listening at/);
    expect((await run(holdfast, ['pub', 'x', '1', ...to])).code).toBe(0);
    const coap = `coap://127.0.0.1:${await daemon.port('coap')}`;
    expect((await run(holdfast, ['pub', 'x', '2', '--to', coap])).code).toBe(0);
    expect(await hears.end()).toBe(0);
    expect(hears.output).toMatch(/x 1\nx 2\n$/);
  });
});
