import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { freePort } from '../support/ports.ts';
import { Daemon, eventually, holdfast } from './support/daemon.ts';
import { coapClient, publish, scratch, subscriber } from './support/peers.ts';
import { Running, run } from './support/process.ts';

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

function place(): string {
  const made = scratch();
  cleanups.push(made.remove);
  return made.path;
}

async function started(toml = ''): Promise<Daemon> {
  const daemon = new Daemon(place(), toml);
  await daemon.start();
  cleanups.push(() => daemon.kill());
  return daemon;
}

describe('a bad configuration', () => {
  it('is refused with all its problems and 78, by run and by check-config', async () => {
    const file = join(place(), 'bad.toml');
    writeFileSync(file, '[coap]\nmode = "sideways"\nlissten = []\n[store]\ncommit_gap = "soon"\n');
    for (const command of ['run', 'check-config']) {
      const { output, code } = await run(holdfast, [command, '--config', file]);
      expect(code).toBe(78);
      for (const part of ['mode', 'lissten', 'commit_gap', 'bad.toml']) expect(output).toContain(part);
    }
  });

  it('that listens beyond loopback unstated is refused with what to do', async () => {
    const { output, code } = await run(holdfast, [
      'check-config',
      '--set',
      'coap.listen=["coap://0.0.0.0:5683"]',
      '--set',
      `state_dir="${place()}"`,
    ]);
    expect(code).toBe(78);
    expect(output).toContain('auth.anonymous');
    expect(output).toContain('user add');
  });

  it('of the command line itself is answered with 2', async () => {
    expect((await run(holdfast, ['fly'])).code).toBe(2);
  });
});

describe('print-config', () => {
  it('hides secrets, and writes a sample that check-config accepts', async () => {
    const directory = place();
    const set = [
      '--set',
      'upstream=[{name="c",urls=["mqtt://127.0.0.1:1"],client_id="g",username="u",password="hush-hush",topics=[]}]',
    ];
    const effective = await run(holdfast, ['print-config', ...set]);
    expect(effective.code).toBe(0);
    expect(effective.output).not.toContain('hush-hush');
    const sample = await run(holdfast, ['print-config', '--example']);
    const file = join(directory, 'sample.toml');
    writeFileSync(file, sample.output);
    expect(await run(holdfast, ['check-config', '--config', file])).toMatchObject({ code: 0 });
  });
});

describe('a daemon', () => {
  it('says what is connected, queued and wrong; and that it is not running', async () => {
    const daemon = await started();
    const args = ['--config', daemon.configFile];
    const { output, code } = await run(holdfast, ['status', ...args]);
    expect(code).toBe(0);
    expect(output).toContain('coap://127.0.0.1:');
    const json = JSON.parse((await run(holdfast, ['status', '--json', ...args])).output) as { clients: object };
    expect(json.clients).toEqual({ coap: 0, mqtt: 0 });
    expect(await daemon.kill('SIGTERM')).toBe(0);
    expect((await run(holdfast, ['status', ...args])).code).toBe(1);
  });

  it('makes its identity once, readable by its owner alone, and shows the credentials', async () => {
    const daemon = await started();
    const file = join(daemon.stateDir, 'identity.json');
    const identity = JSON.parse(readFileSync(file, 'utf8')) as { appClientId: string; appClientSecret: string };
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const { output } = await run(holdfast, ['credentials', '--config', daemon.configFile]);
    expect(output).toContain(identity.appClientId);
    expect(output).toContain(identity.appClientSecret);
    expect(daemon.output).not.toContain(identity.appClientSecret);
  });

  it('knows a user added while it runs, and forgets one removed', { timeout: 60_000 }, async () => {
    const daemon = await started('[auth]\nanonymous = false\n');
    const port = await daemon.port('coap');
    const mqtt = await daemon.port('mqtt');
    const user = (args: readonly string[], password = '') =>
      run(holdfast, ['user', ...args, '--config', daemon.configFile], password);
    const login = async () =>
      (
        await run(coapClient, [
          '-m',
          'post',
          '-v',
          '6',
          '-e',
          'x',
          '-B',
          '10',
          `coap://127.0.0.1:${port}/ps/a?username=ann&password=right`,
        ])
      ).output;
    expect(await login()).toContain('Login Failed: not_authorized');
    expect((await user(['add', 'ann'], 'right\n')).code).toBe(0);
    expect(await login()).toMatch(/2\.04/);
    expect((await publish(mqtt, 'a', 'x', ['-q', '1', '-u', 'ann', '-P', 'right'])).code).toBe(0);
    expect((await publish(mqtt, 'a', 'x', ['-q', '1', '-u', 'ann', '-P', 'wrong'])).code).not.toBe(0);
    expect((await user(['list'])).output).toContain('ann');
    expect((await user(['remove', 'ann'])).code).toBe(0);
    expect(await login()).toContain('Login Failed: not_authorized');
    expect(statSync(join(daemon.stateDir, 'users.toml')).mode & 0o777).toBe(0o600);
    expect(daemon.output).not.toContain('right');
  });

  it('ends the connections of a user who was removed, or whose password was changed, and no other', {
    timeout: 60_000,
  }, async () => {
    const daemon = await started('[auth]\nanonymous = false\n');
    const mqtt = await daemon.port('mqtt');
    const user = (args: readonly string[], password = '') =>
      run(holdfast, ['user', ...args, '--config', daemon.configFile], password);
    for (const name of ['ann', 'bob', 'eve']) await user(['add', name], `${name}s\n`);
    const peers = await Promise.all(
      ['ann', 'bob', 'eve'].map((name) => subscriber(mqtt, '#', ['-i', name, '-u', name, '-P', `${name}s`])),
    );
    cleanups.push(...peers.map((peer) => () => peer.kill()));
    const clients = async () => (await daemon.status()).clients.mqtt;
    expect(await clients()).toBe(3);
    await user(['remove', 'eve']);
    await eventually(async () => (await clients()) === 2, 'eve is out');
    await user(['password', 'ann'], 'new\n');
    await eventually(async () => (await clients()) === 1, 'ann is out');
    expect((await publish(mqtt, 'a', 'x', ['-q', '1', '-u', 'ann', '-P', 'new'])).code).toBe(0);
  });

  it('does not go on with a CoAP client whose password was changed while nothing ran', {
    timeout: 60_000,
  }, async () => {
    const port = await freePort();
    const daemon = await started(
      `[auth]\nanonymous = false\n[coap]\nlisten = ["coap://127.0.0.1:${port}"]\nmode = "connection"\n`,
    );
    const user = (args: readonly string[], password = '') =>
      run(holdfast, ['user', ...args, '--config', daemon.configFile], password);
    const coap = (method: string, path: string, ...args: readonly string[]) =>
      new Running('stdbuf', ['-oL', coapClient, '-m', method, '-v', '6', ...args, `coap://127.0.0.1:${port}/${path}`]);
    const clients = async () => (await daemon.status()).clients.coap;
    for (const name of ['ann', 'bob']) {
      await user(['add', name], `${name}s\n`);
      const login = coap('post', `mqtt/connection?clientid=${name}&username=${name}&password=${name}s`, '-B', '10');
      const token = /:: '([\w-]{22})'/.exec(await login.outputs(/2\.01/))?.[1];
      const observer = coap('get', `ps/cmd?clientid=${name}&token=${token}&qos=1`, '-s', '60');
      cleanups.push(() => observer.kill());
      await observer.outputs(/2\.05/);
    }
    expect(await clients()).toBe(2);
    await daemon.kill();
    await user(['password', 'ann'], 'new\n');
    await daemon.start();
    expect(await clients()).toBe(1);
  });

  it('lets nobody in unnamed once there are users and nothing was stated', { timeout: 60_000 }, async () => {
    const daemon = await started();
    const port = await daemon.port('coap');
    const post = async () =>
      (await run(coapClient, ['-m', 'post', '-v', '6', '-e', 'x', '-B', '10', `coap://127.0.0.1:${port}/ps/a`])).output;
    expect(await post()).toMatch(/2\.04/);
    await run(holdfast, ['user', 'add', 'ann', '--config', daemon.configFile], 'right\n');
    expect(await post()).toContain('Login Failed: not_authorized');
  });

  it('reloads its access rules on HUP, and keeps the old configuration when the new one is bad', async () => {
    const daemon = await started();
    const port = await daemon.port('coap');
    const post = async () =>
      (await run(coapClient, ['-m', 'post', '-v', '6', '-e', 'x', '-B', '10', `coap://127.0.0.1:${port}/ps/a`])).output;
    expect(await post()).toMatch(/2\.04/);
    const good = readFileSync(daemon.configFile, 'utf8');
    writeFileSync(
      daemon.configFile,
      `${good}\n[auth]\nanonymous = true\nacl = [{ effect = "deny", action = "all", topic = "#" }]\n`,
    );
    daemon.signal('SIGHUP');
    await daemon.waitFor(/configuration was reloaded/);
    expect(await post()).toMatch(/4\.01/);
    writeFileSync(daemon.configFile, `${good}\n[coap.oops]\n`);
    daemon.signal('SIGHUP');
    await daemon.waitFor(/configuration was not reloaded/);
    expect(await post()).toMatch(/4\.01/);
  });

  it('refuses to share its state with another, and says so', async () => {
    const daemon = await started();
    const { output, code } = await run(holdfast, ['run', '--config', daemon.configFile]);
    expect(code).toBe(1);
    expect(output).toMatch(/another/);
  });
});
