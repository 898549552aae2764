import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HoldfastError } from '../../src/base/index.ts';
import type { CliDeps } from '../../src/cli/index.ts';
import { input, runCommand } from './support.ts';

let cwd = '';
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'holdfast-cli-'));
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

const holdfast = (argv: readonly string[], more: Partial<CliDeps> = {}) => runCommand(argv, cwd, more);

const here = () => {
  const file = join(cwd, 'holdfast.toml');
  writeFileSync(file, 'state_dir = "state"\n');
  return ['--config', file];
};

describe('the command line', () => {
  it.each([[['fly']], [[]], [['run', '--fast']], [['user']], [['user', 'add']], [['run', 'x']], [['run', '--config']]])(
    'answers %j with 2 and a hint',
    async (argv) => {
      const { code, err, out } = await holdfast(argv);
      expect({ code, out }).toEqual({ code: 2, out: '' });
      expect(err).toContain('--help');
    },
  );

  it('prints help and the version', async () => {
    const { code, out } = await holdfast(['--help']);
    expect(code).toBe(0);
    for (const word of [
      'run',
      'check-config',
      'print-config',
      'status',
      'user',
      'credentials',
      'pub',
      'sub',
      'version',
      '--set',
    ]) {
      expect(out).toContain(word);
    }
    expect(await holdfast(['version'])).toMatchObject({ code: 0, out: '1.2.3\n' });
  });

  it('runs the daemon with the configuration, and gives its exit code', async () => {
    let level = '';
    const run: CliDeps['run'] = async (config, load) => {
      level = config.log.level;
      return load().ok ? 7 : 8;
    };
    expect(
      await holdfast(['run', ...here(), '--set', 'log.level=debug', '--set', 'coap.listen=[]'], { run }),
    ).toMatchObject({ code: 7 });
    expect(level).toBe('debug');
  });

  it('answers a bad configuration with every problem and 78', async () => {
    for (const command of ['run', 'check-config', 'print-config', 'status', 'pub a b', 'sub a']) {
      const { code, err } = await holdfast([
        ...command.split(' '),
        ...here(),
        '--set',
        'log.level=loud',
        '--set',
        'coap.x=1',
      ]);
      expect(code).toBe(78);
      expect(err).toMatch(/log\.level[^\n]*\n[^\n]*coap\.x|coap\.x[^\n]*\n[^\n]*log\.level/);
    }
  });

  it('answers a failure with its reason and 1', async () => {
    const run = async () => {
      throw new HoldfastError('start_failed', 'no luck');
    };
    expect(await holdfast(['run', ...here()], { run })).toMatchObject({ code: 1, err: 'holdfast: no luck\n' });
  });

  it('prints the effective configuration and the example', async () => {
    expect((await holdfast(['print-config', ...here()])).out).toContain(`state_dir = "${join(cwd, 'state')}"`);
    expect((await holdfast(['print-config', '--example'])).out).toContain('#[[upstream]]');
  });

  it('says how the daemon is, or that there is none', async () => {
    const answer = {
      version: '1',
      state: 'degraded',
      uptime: 61_000,
      listeners: ['coap://127.0.0.1:5683'],
      clients: { coap: 2, mqtt: 3 },
      upstreams: [
        { name: 'cloud', state: 'down', queuedMessages: 9 },
        {
          name: 'b',
          url: 'mqtts://h:8883',
          state: 'waiting',
          queuedMessages: 2,
          queuedBytes: 2_048,
          oldestAge: 90_000,
          lastError: 'connect ECONNREFUSED',
        },
        { name: 'c', state: 'connected', queuedMessages: 0, queuedBytes: 0 },
      ],
      conditions: [{ code: 'x', severity: 'degraded', text: 'Look here.', detail: '\u001b[2J', age: 5_000 }],
    };
    const ask = async () => answer;
    const { code, out } = await holdfast(['status', ...here()], { ask });
    expect(code).toBe(0);
    for (const part of [
      'coap://127.0.0.1:5683',
      '2 CoAP',
      '3 MQTT',
      'cloud: down, 9 queued\n',
      'b: waiting mqtts://h:8883, 2 queued (2KiB, oldest 90s); connect ECONNREFUSED\n',
      'c: connected, 0 queued\n',
      'Look here.',
      'up 61s',
    ]) {
      expect(out).toContain(part);
    }
    expect(out).not.toContain('\u001b');
    expect(JSON.parse((await holdfast(['status', '--json', ...here()], { ask })).out)).toEqual(answer);
    const none = await holdfast(['status', ...here()]);
    expect(none).toMatchObject({ code: 1, out: '' });
    expect(none.err).toContain('holdfast run');
  });

  it('shows the credentials', async () => {
    expect((await holdfast(['credentials', ...here()])).out).toMatch(/id\n.*secret\n/);
  });
});

describe('a user', () => {
  it('is added with the first line of the input; the daemon is told', async () => {
    const { code, told } = await holdfast(['user', 'add', 'ann', ...here()], { stdin: input(['ri', 'ght\r\nmore\n']) });
    expect(code).toBe(0);
    expect(told).toEqual([join(cwd, 'state/users.toml'), 'add ann right', 'reload_users']);
  });

  it('may be a number, and be added before the gateway may listen', async () => {
    const { code, told } = await holdfast(
      ['user', 'add', '007', ...here(), '--set', 'mqtt.listen=["mqtt://0.0.0.0:1883"]'],
      {
        stdin: input(['0x1']),
      },
    );
    expect(code).toBe(0);
    expect(told).toContain('add 007 0x1');
  });

  it('is asked for the password twice on a terminal, which shows nothing', async () => {
    const stdin = input(['rx\u007fight', '\r', 'right\r'], true);
    const { code, told, out, err } = await holdfast(['user', 'password', 'ann', ...here()], { stdin });
    expect(code).toBe(0);
    expect(told).toContain('password ann right');
    expect(out + err).not.toContain('right');
    expect(stdin.raw).toEqual([true, false]);
  });

  it.each([
    [['a\rb\r'], true],
    [['\u0003'], true],
    [[], true],
    [[], false],
    [['\n'], false],
  ])('is not changed by %j', async (chunks, terminal) => {
    const { code, told } = await holdfast(['user', 'add', 'ann', ...here()], { stdin: input(chunks, terminal) });
    expect(code).toBe(1);
    expect(told).toEqual([]);
  });

  it('is removed and listed; a daemon that cannot take it is told of', async () => {
    expect((await holdfast(['user', 'remove', 'ann', ...here()])).told).toContain('remove ann');
    expect((await holdfast(['user', 'list', ...here()])).out).toBe('ann\nbob\n');
    const ask = async () => ({ error: 'bad file' });
    expect(await holdfast(['user', 'remove', 'ann', ...here()], { ask })).toMatchObject({ code: 1 });
  });
});

describe('a device’s key', () => {
  it('is taken from the input, never from the arguments; the daemon is told', async () => {
    const { code, told, out } = await holdfast(['psk', 'add', 'pump', ...here()], { stdin: input(['00ff\n']) });
    expect(code).toBe(0);
    expect(told).toEqual([join(cwd, 'state/psk.toml'), 'add pump 00ff', 'reload_users']);
    expect(out).not.toContain('00ff');
    expect((await holdfast(['psk', 'add', 'pump', '00ff', ...here()])).code).toBe(2);
  });

  it('is made up on demand, and shown once', async () => {
    const { out, told } = await holdfast(['psk', 'add', 'pump', '--generate', ...here()]);
    expect(told).toContain('add pump generated');
    expect(out).toBe('Key of pump, shown this once: abcd\nIdentity pump was added.\n');
  });

  it('is asked for twice on a terminal', async () => {
    const { told, err } = await holdfast(['psk', 'add', 'pump', ...here()], { stdin: input(['0f\r', '0f\r'], true) });
    expect(told).toContain('add pump 0f');
    expect(err).toBe('Key: \nAgain: \n');
  });

  it('is removed, and the identities are listed', async () => {
    expect((await holdfast(['psk', 'remove', 'pump', ...here()])).told).toContain('remove pump');
    expect((await holdfast(['psk', 'list', ...here()])).out).toBe('pump\nvalve\n');
    expect((await holdfast(['psk'])).code).toBe(2);
  });
});
