import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/index.ts';
import { Notifier, type NotifyTransport, Watchdog } from '../../src/systemd/index.ts';
import { silentLogger } from '../../src/telemetry/index.ts';
import { FakeClock } from '../support/fake-clock.ts';

function setUp(env: NodeJS.ProcessEnv = { NOTIFY_SOCKET: '/run/x' }, fails = false) {
  const sent: string[] = [];
  const warnings: string[] = [];
  let running = 0;
  const send = async (text: string) => {
    running += 1;
    expect(running).toBe(1);
    await Promise.resolve();
    running -= 1;
    sent.push(text);
    if (fails) throw new Error('no systemd');
  };
  const transport: NotifyTransport = {
    tell: ({ ready, status }) => send(`${ready === true ? 'READY ' : ''}${status}`),
    variables: (variables) => send(variables.join(' ')),
  };
  const clock = new FakeClock();
  const logger = { ...silentLogger, warn: (_fields: object, text: string) => void warnings.push(text) };
  return { notifier: new Notifier({ env, logger, clock, transport }), sent, warnings, clock };
}

describe('the notifier', () => {
  it('tells one thing after the other', async () => {
    const { notifier, sent, clock } = setUp();
    await Promise.all([
      notifier.ready('1 upstream\nup'),
      notifier.status('fine'),
      notifier.watchdog(),
      notifier.reloading(),
      notifier.stopping(),
    ]);
    expect(sent.slice(0, 3)).toEqual(['READY 1 upstream up', 'fine', 'WATCHDOG=1']);
    expect(sent[3]).toMatch(/^RELOADING=1 MONOTONIC_USEC=\d+$/);
    expect(sent[4]).toBe('STOPPING=1');
    expect(clock.armed).toEqual([]);
  });

  it('is silent without systemd', async () => {
    const { notifier, sent } = setUp({ NOTIFY_SOCKET: '' });
    await notifier.ready('x');
    expect(sent).toEqual([]);
  });

  it('never throws, and complains once', async () => {
    const { notifier, warnings } = setUp(undefined, true);
    await notifier.ready('x');
    await notifier.watchdog();
    expect(warnings).toHaveLength(1);
  });

  it('does not wait for ever, nor let ever more wait', async () => {
    const clock = new FakeClock();
    let calls = 0;
    const never = () => {
      calls += 1;
      return new Promise<never>(() => undefined);
    };
    const transport: NotifyTransport = { tell: never, variables: never };
    const notifier = new Notifier({ env: { NOTIFY_SOCKET: 'x' }, logger: silentLogger, clock, transport });
    const all = Promise.all(Array.from({ length: 100 }, () => notifier.status('x')));
    for (let n = 0; n < 40; n++) {
      clock.advance(10_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await all;
    expect(calls).toBe(16);
  });
});

const python = spawnSync('python3', ['--version']).status === 0;
const binary = spawnSync('systemd-notify', ['--version']).status === 0;

describe('what systemd gets', () => {
  let directory = '';
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'holdfast-notify-'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  /** Node.js has no datagrams on AF_UNIX: python plays systemd, and shows each one as a line of JSON. */
  const listener = `
import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('bound', flush=True)
while True: print(json.dumps(s.recv(4096).decode()), flush=True)
`;

  it.runIf(python && binary)('are its variables, in order, through the real systemd-notify', async () => {
    const socket = join(directory, 'notify');
    const peer = spawn('python3', ['-c', listener, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
    const lines = createInterface({ input: peer.stdout })[Symbol.asyncIterator]();
    // what the package runs has the environment of this process
    const before = process.env.NOTIFY_SOCKET;
    process.env.NOTIFY_SOCKET = socket;
    try {
      expect((await lines.next()).value).toBe('bound');
      const notifier = new Notifier({ env: process.env, logger: silentLogger, clock: systemClock });
      await Promise.all([
        notifier.ready('3 clients'),
        notifier.watchdog(),
        notifier.reloading(),
        notifier.status('fine'),
        notifier.stopping(),
      ]);
      const got: string[][] = [];
      while (got.length < 5) {
        const variables = (JSON.parse((await lines.next()).value ?? '""') as string).trim().split('\n');
        // systemd-notify waits until systemd has read its message
        if (variables[0] !== 'BARRIER=1') got.push(variables.filter((one) => !one.startsWith('MAINPID=')).sort());
      }
      expect(got).toEqual([
        ['READY=1', 'STATUS=3 clients'],
        ['WATCHDOG=1'],
        [expect.stringMatching(/^MONOTONIC_USEC=\d+$/), 'RELOADING=1'],
        ['STATUS=fine'],
        ['STOPPING=1'],
      ]);
    } finally {
      if (before === undefined) delete process.env.NOTIFY_SOCKET;
      else process.env.NOTIFY_SOCKET = before;
      const gone = once(peer, 'exit');
      peer.kill();
      await gone;
    }
  });

  it('is written to the socket that a launcher left open, without a process', async () => {
    const path = join(directory, 'fd');
    const fd = openSync(path, 'w');
    const notifier = new Notifier({ env: { NOTIFY_FD: `${fd}` }, logger: silentLogger, clock: new FakeClock() });
    await Promise.all([notifier.ready('up'), notifier.watchdog()]);
    closeSync(fd);
    expect(readFileSync(path, 'utf8')).toBe('READY=1\nSTATUS=upWATCHDOG=1');
  });

  it('is nothing where that descriptor is none, which is logged once', async () => {
    const warnings: string[] = [];
    const logger = { ...silentLogger, warn: (_fields: object, text: string) => void warnings.push(text) };
    const closed = new Notifier({ env: { NOTIFY_FD: '9999' }, logger, clock: new FakeClock() });
    await closed.ready('up');
    await closed.stopping();
    expect(warnings).toHaveLength(1);
    for (const fd of ['', '1', 'x', '-3', '3.5']) {
      expect(new Notifier({ env: { NOTIFY_FD: fd }, logger, clock: new FakeClock() }).enabled).toBe(false);
    }
  });
});

describe('the watchdog', () => {
  async function pings(env: NodeJS.ProcessEnv, healthy: () => boolean, pid = 1): Promise<number> {
    const clock = new FakeClock();
    let count = 0;
    const notifier = {
      watchdog: async () => {
        count += 1;
      },
    };
    const watchdog = new Watchdog({ notifier, clock, healthy, env, pid });
    await watchdog.start();
    clock.advance(10_000);
    await watchdog.stop();
    expect(clock.armed).toEqual([]);
    return count;
  }

  it('pings twice in its time, while all is well', async () => {
    expect(await pings({ WATCHDOG_USEC: '4000000' }, () => true)).toBe(6);
    expect(await pings({ WATCHDOG_USEC: '4000000', WATCHDOG_PID: '1' }, () => true)).toBe(6);
  });

  it('is silent where it is not, or nobody asks', async () => {
    expect(await pings({ WATCHDOG_USEC: '4000000' }, () => false)).toBe(0);
    expect(
      await pings({ WATCHDOG_USEC: '4000000' }, () => {
        throw new Error('broken');
      }),
    ).toBe(0);
    expect(await pings({}, () => true)).toBe(0);
    expect(await pings({ WATCHDOG_USEC: '4000000', WATCHDOG_PID: '2' }, () => true)).toBe(0);
  });
});
