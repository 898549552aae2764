import { describe, expect, it } from 'vitest';
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
