import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HoldfastError } from '../../src/base/index.ts';
import type { CliDeps } from '../../src/cli/index.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { PlayedGateway } from './gateway.ts';
import { input, runCommand } from './support.ts';

let cwd = '';
let gateway = new PlayedGateway();
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'holdfast-pub-'));
  gateway = new PlayedGateway();
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

const pub = (argv: readonly string[], more: Partial<CliDeps> = {}) =>
  runCommand(['pub', ...argv], cwd, {
    connect: gateway.connect,
    env: { HOLDFAST_CONFIG: join(cwd, file('empty.toml', '')) },
    ...more,
  });
const file = (name: string, text: string) => {
  writeFileSync(join(cwd, name), text);
  return name;
};
const set = (...keys: string[]) => keys.flatMap((key) => ['--set', key]);

describe('pub', () => {
  it('sends the payload, is silent, and ends with 0 once it is acknowledged', async () => {
    expect(await pub(['a/b', 'hello'])).toMatchObject({ code: 0, out: '', err: '' });
    expect(gateway.told).toEqual(['publish a/b 1', 'close']);
    expect(gateway.payloads).toEqual([Buffer.from('hello')]);
    expect(gateway.target).toMatchObject({ url: 'mqtt://127.0.0.1:1883', mqtt311: true });
    expect(gateway.target?.clientId).toMatch(/^holdfast-pub-[0-9a-f]{8}$/);
  });

  it('takes QoS, retain, a client id, an empty payload, and one that looks like an option', async () => {
    expect((await pub(['a', '', '--qos', '2', '--retain', '--client-id', 'me'])).code).toBe(0);
    expect((await pub(['a', '--', '-5'])).code).toBe(0);
    expect((await pub(['a', '0x10'])).code).toBe(0);
    expect(gateway.told).toContain('publish a 2 retained');
    expect(gateway.payloads.map(String)).toEqual(['', '-5', '0x10']);
    expect(gateway.targets[0]?.clientId).toBe('me');
  });

  it('takes the whole of standard input, byte for byte', async () => {
    const stdin = input([Buffer.from([0, 0xff, 0x0a]), Buffer.from([0xfe, 0x0a])]);
    expect((await pub(['a'], { stdin })).code).toBe(0);
    expect(gateway.payloads).toEqual([Buffer.from([0, 0xff, 0x0a, 0xfe, 0x0a])]);
  });

  it.each([
    [[]],
    [['', 'x']],
    [['a/+', 'x']],
    [['a/#', 'x']],
    [['a\u0000', 'x']],
    [['a'.repeat(65_536), 'x']],
    [['a', 'x', 'y']],
    [['a', 'x', '--', 'y']],
    [['a', 'x', '--qos', '3']],
    [['a', 'x', '--qos', '1', '--qos', '2']],
    [['a', 'x', '--timeout', '30']],
    [['a', 'x', '--timeout', '0s']],
    [['a', 'x', '--timeout', '90d']],
    [['a', 'x', '--password', 'secret']],
    [['a', 'x', '--password-file', 'f']],
    [['a', '--username', 'ann']],
    [['a', 'x', '--username', '']],
    [['a', 'x', '--client-id', 'a\nb']],
    [['a', 'x', '--cert', 'f']],
    [['a', 'x', '--to', 'h:1883']],
    [['a', 'x', '--to', 'http://h']],
    [['a', 'x', '--to', 'mqtt://h:0']],
    [['a', 'x', '--to', 'mqtt://h', '--coap']],
    [['a', 'x', '--to', 'mqtt://h', '--to', 'mqtt://i']],
  ])('answers %j with 2, and goes nowhere', async (argv) => {
    expect(await pub(argv)).toMatchObject({ code: 2, out: '' });
    expect(gateway.targets).toEqual([]);
  });

  it('says that coaps is not spoken, and that no password belongs in a URL, without repeating it', async () => {
    expect((await pub(['a', 'x', '--to', 'coaps://h'])).err).toContain('coaps:// (DTLS) is not spoken');
    const { code, err } = await pub(['a', 'x', '--to', 'mqtt://ann:hush-hush@h']);
    expect(code).toBe(2);
    expect(err).toContain('--username');
    expect(err).not.toContain('hush');
  });

  it('says what was refused and why, with 1', async () => {
    gateway.published = new HoldfastError('overloaded', 'the message was refused: 5.03');
    expect(await pub(['a', 'x'])).toMatchObject({ code: 1, out: '', err: 'holdfast: the message was refused: 5.03\n' });
    expect(gateway.told).toContain('close');
    gateway.refusals.push(new HoldfastError('unavailable', 'nobody listens at mqtt://127.0.0.1:1883'));
    expect((await pub(['a', 'x'])).err).toContain('nobody listens at mqtt://127.0.0.1:1883: the daemon is not running');
  });

  it('says so where the payload is above the limit of the configuration', async () => {
    const argv = ['a', 'long', ...set('limits.payload="3B"')];
    expect((await pub(argv)).code).toBe(0);
    gateway.published = new HoldfastError('unavailable', 'closed without an acknowledgement');
    expect(await pub(argv)).toMatchObject({
      code: 1,
      err: 'holdfast: the payload has 4 bytes, and limits.payload is 3B: closed without an acknowledgement\n',
    });
    expect((await pub(['a', 'long'])).err).toContain('`holdfast status`');
    // what has nothing to do with it
    gateway.published = new HoldfastError('access_denied', 'not authorised');
    expect((await pub(argv)).err).not.toContain('limits.payload');
  });

  it('is no success where the access rules drop what MQTT acknowledges', async () => {
    const asked: unknown[] = [];
    const mayPublish: CliDeps['mayPublish'] = (_config, who, topic) => {
      asked.push(who, topic);
      return false;
    };
    const { code, err } = await pub(['a', 'x', '--client-id', 'me'], { mayPublish });
    expect(code).toBe(1);
    expect(err).toContain('auth.acl');
    expect(asked).toEqual([{ username: '', clientId: 'me' }, 'a']);
    // who is asked itself says it
    expect((await pub(['a', 'x', '--coap'], { mayPublish })).code).toBe(0);
    expect((await pub(['a', 'x', '--to', 'mqtt://h'], { mayPublish })).code).toBe(0);
  });

  it('gives up after 30 s, or --timeout, and says goodbye', async () => {
    const clock = new FakeClock();
    for (const [argv, wait] of [
      [[], 30_000],
      [['--timeout', '2s'], 2_000],
    ] as const) {
      gateway.published = 'never answered';
      const running = pub(['a', 'x', ...argv], { clock });
      await new Promise<void>((resolve) => setImmediate(resolve));
      clock.advance(wait - 1);
      expect(clock.armed).toEqual(['acknowledgement']);
      clock.advance(1);
      const { code, err } = await running;
      expect(code).toBe(1);
      expect(err).toContain(`no acknowledgement from mqtt://127.0.0.1:1883 within ${wait / 1_000}s`);
    }
    expect(gateway.told.filter((one) => one === 'close')).toHaveLength(2);
    expect(clock.armed).toEqual([]);
  });
});

describe('a login', () => {
  it('has its password from a file, the first line of it', async () => {
    expect((await pub(['a', 'x', '--username', 'ann', '--password-file', file('pw', 'r t\r\nmore\n')])).code).toBe(0);
    expect(gateway.target).toMatchObject({ username: 'ann', password: 'r t' });
    expect((await pub(['a', 'x', '--username', 'ann', '--password-file', file('none', '\n')])).code).toBe(1);
    expect((await pub(['a', 'x', '--username', 'ann', '--password-file', 'missing'])).err).toContain('cannot read');
  });

  it('asks for it once on a terminal, which shows nothing', async () => {
    const stdin = input(['ri', 'ght\r'], true);
    const { code, out, err } = await pub(['a', 'x', '--username', 'ann'], { stdin });
    expect(code).toBe(0);
    expect(gateway.target).toMatchObject({ password: 'right' });
    expect({ out, err, raw: stdin.raw }).toEqual({ out: '', err: 'Password: \n', raw: [true, false] });
  });

  it('that is missing is hinted at', async () => {
    gateway.refusals.push(new HoldfastError('not_authorized', 'the login was refused: not authorised'));
    expect((await pub(['a', 'x'])).err).toContain('--username NAME');
    gateway.refusals.push(new HoldfastError('not_authorized', 'the login was refused: not authorised'));
    expect((await pub(['a', 'x', '--username', 'ann'], { stdin: input(['x\n']) })).err).not.toContain('--username');
  });
});

describe('the gateway of the configuration', () => {
  it.each([
    [['mqtt.listen=["mqtt://0.0.0.0:2000","mqtt://127.0.0.1:3000"]'], [], 'mqtt://127.0.0.1:2000'],
    [['mqtt.listen=["ws://[::]:80/mqtt"]'], [], 'ws://[::1]:80/mqtt'],
    [['mqtt.listen=["mqtt://192.0.2.7"]'], [], 'mqtt://192.0.2.7'],
    [['mqtt.listen=[]'], [], 'coap://127.0.0.1:5683'],
    [[], ['--coap'], 'coap://127.0.0.1:5683'],
    [['coap.listen=["coaps://127.0.0.1","coap://[::]:5000"]'], ['--coap'], 'coap://[::1]:5000'],
  ])('with %j %j is %s', async (keys, argv, url) => {
    const { code, err } = await pub(['a', 'x', ...argv, ...set('auth.anonymous=true', ...keys)]);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(gateway.target?.url).toBe(url);
  });

  it.each([
    [['mqtt.listen=[]', 'coap.listen=[]'], [], 'neither'],
    [['coap.listen=[]'], ['--coap'], 'no coap.listen'],
    [['coap.listen=["coaps://127.0.0.1"]'], ['--coap'], 'coaps:// (DTLS) alone'],
    [['mqtt.listen=["mqtt://127.0.0.1:0"]'], [], 'no daemon answers'],
  ])('with %j %j cannot be reached, and that is said', async (keys, argv, text) => {
    const { code, err } = await pub(['a', 'x', ...argv, ...set(...keys)]);
    expect(code).toBe(1);
    expect(err).toContain(text);
    expect(err).toContain('--to');
    expect(gateway.targets).toEqual([]);
  });

  it('is asked for a port that it chose for itself', async () => {
    const ask = async () => ({
      listeners: ['coap://127.0.0.1:1', 'mqtts://0.0.0.0:2', 'mqtt://0.0.0.0:3', 'mqtt://127.0.0.1:4'],
    });
    const keys = set('mqtt.listen=["mqtt://0.0.0.0:0"]', 'coap.listen=["coap://127.0.0.1:0"]', 'auth.anonymous=true');
    await pub(['a', 'x', ...keys], { ask });
    await pub(['a', 'x', '--coap', ...keys], { ask });
    expect(gateway.targets.map(({ url }) => url)).toEqual(['mqtt://127.0.0.1:3', 'coap://127.0.0.1:1']);
  });

  it('has to show its own certificate over TLS, unless --ca says otherwise', async () => {
    const tls = ['mqtt.listen=["mqtts://127.0.0.1:8883"]', `mqtt.cert_file="${join(cwd, file('cert', 'CERT'))}"`];
    const keys = set(...tls, `mqtt.key_file="${join(cwd, file('key', 'KEY'))}"`);
    await pub(['a', 'x', ...keys]);
    await pub(['a', 'x', ...keys, '--ca', file('ca', 'CA'), '--cert', 'cert', '--key', 'key']);
    expect(gateway.targets[0]).toMatchObject({ pinned: Buffer.from('CERT') });
    expect(gateway.targets[1]).toMatchObject({
      ca: Buffer.from('CA'),
      certificate: { cert: Buffer.from('CERT'), key: Buffer.from('KEY') },
    });
    expect(gateway.targets[1]).not.toHaveProperty('pinned');
  });

  it('says how its CoAP side wants to be spoken to; another has to be asked', async () => {
    await pub(['a', 'x', '--coap', ...set('coap.mode=connection', 'coap.heartbeat="7s"')]);
    await pub(['a', 'x', '--to', 'coap://h', '--config', join(cwd, 'missing.toml')]);
    expect(gateway.targets[0]).toMatchObject({ coapMode: 'connection', heartbeat: 7_000 });
    expect(gateway.targets[1]).toMatchObject({ url: 'coap://h', mqtt311: false });
    expect(gateway.targets[1]).not.toHaveProperty('coapMode');
  });
});
