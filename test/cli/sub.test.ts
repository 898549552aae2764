import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HoldfastError } from '../../src/base/index.ts';
import type { CliDeps } from '../../src/cli/index.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { PlayedGateway } from './gateway.ts';
import { runCommand } from './support.ts';

let cwd = '';
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'holdfast-sub-'));
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

/** `sub` as it runs. */
function start(
  argv: readonly string[],
  more: Partial<CliDeps> = {},
  prepare: (gateway: PlayedGateway) => unknown = () => undefined,
) {
  const gateway = new PlayedGateway();
  prepare(gateway);
  const clock = new FakeClock();
  const stopped = new AbortController();
  const seen = { out: '', err: '' };
  const file = join(cwd, 'empty.toml');
  writeFileSync(file, '');
  const running = runCommand(['sub', ...argv], cwd, {
    connect: gateway.connect,
    untilStopped: () => stopped.signal,
    clock,
    env: { HOLDFAST_CONFIG: file },
    stdout: {
      write: (text) => {
        seen.out += text;
      },
    },
    stderr: {
      write: (text) => {
        seen.err += text;
      },
    },
    ...more,
  });
  const end = async () => {
    const { code } = await running;
    expect(clock.armed).toEqual([]);
    return { code, ...seen };
  };
  return { gateway, clock, seen, stop: () => stopped.abort(), end };
}

describe('sub', () => {
  it('prints what comes, a line each, until it is interrupted', async () => {
    const { gateway, seen, stop, end } = start(['a/#', 'b']);
    await settled();
    expect(gateway.target?.clientId).toMatch(/^holdfast-sub-/);
    expect(seen.err).toBe('holdfast: listening at mqtt://127.0.0.1:1883\n');
    gateway.send({ topic: 'a/b', payload: 'one' });
    gateway.send({ topic: 'b', payload: 'two words' });
    gateway.send({ filter: 'a/#', payload: 'by CoAP' });
    gateway.miss('too large');
    stop();
    gateway.send({ topic: 'b', payload: 'too late' });
    expect(await end()).toMatchObject({ code: 0, out: 'a/b one\nb two words\na/# by CoAP\n' });
    expect(seen.err).toContain('a message was missed: too large\n');
    expect(gateway.told).toEqual(['subscribe a/# b 1', 'close']);
  });

  it('prints nothing that drives a terminal, and one line a message', async () => {
    const { gateway, stop, end } = start(['#']);
    await settled();
    gateway.send({ topic: 'a\u001b[2J', payload: 'x\u0007\r\n\t\u009by\u2028\u202e\u007f' });
    gateway.send({ topic: 'b', payload: Buffer.from([0x41, 0xff, 0x1b, 0x9b, 0x0a]) });
    gateway.send({ topic: 'c', payload: 'größer 漢 \\ {"a":1}' });
    stop();
    expect((await end()).out).toBe(
      'a\\x1b[2J x\\x07\\r\\n\\t\\x9by\\u2028\\u202e\\x7f\nb A\\xff\\x1b\\x9b\\n\nc größer 漢 \\ {"a":1}\n',
    );
  });

  it('prints JSON, with all that is known, and other bytes than UTF-8 as base64', async () => {
    const { gateway, clock, stop, end } = start(['#', '--json']);
    clock.advance(1_500);
    await settled();
    const payload = 'a\u001b\n\u009b\u2028';
    gateway.send({ topic: 'a', payload, qos: 1, retain: true, userProperties: { k: ['v', 'w'] }, messageExpiry: 9 });
    gateway.send({ filter: '#', payload: Buffer.from([0xff]), correlationData: Buffer.from('c') });
    stop();
    const { out } = await end();
    // biome-ignore lint/suspicious/noControlCharactersInRegex: none may be there
    expect(out.replaceAll('\n', '')).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028]/);
    const time = '2026-01-01T00:00:01.500Z';
    const lines = out.trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
      { time, topic: 'a', payload, qos: 1, retain: true, userProperties: { k: ['v', 'w'] }, messageExpiry: 9 },
      { time, filter: '#', payload: '/w==', encoding: 'base64', correlationData: 'Yw==' },
    ]);
  });

  it('ends with 0 after --count messages, and prints no more', async () => {
    const { gateway, end } = start(['#', '--count', '2', '--timeout', '9s', '--qos', '2']);
    await settled();
    for (const payload of ['1', '2', '3']) gateway.send({ topic: 'a', payload });
    expect(await end()).toMatchObject({ code: 0, out: 'a 1\na 2\n' });
    expect(gateway.told).toEqual(['subscribe # 2', 'close']);
  });

  it.each([
    [[], 0, 1, 'no message within 9s'],
    [[], 1, 0, ''],
    [['--count', '2'], 1, 1, '1 of 2 messages within 9s'],
  ])('with --timeout, %j and %d messages ends with %d', async (argv, messages, expected, text) => {
    const { gateway, clock, end } = start(['#', '--timeout', '9s', ...argv]);
    await settled();
    for (let n = 0; n < messages; n++) gateway.send({ topic: 'a', payload: 'x' });
    clock.advance(8_999);
    await settled();
    expect(gateway.told).not.toContain('close');
    clock.advance(1);
    const { code, err } = await end();
    expect(code).toBe(expected);
    expect(err.replace(/^.*listening.*\n/, '')).toBe(text === '' ? '' : `holdfast: ${text}\n`);
  });

  it('takes a message once it is printed', async () => {
    const waiting: (() => void)[] = [];
    const stdout = {
      write: () => false,
      once: (_event: 'drain', listener: () => void) => waiting.push(listener),
    };
    const { gateway, stop, end } = start(['#'], { stdout });
    await settled();
    let taken = false;
    const taking = gateway.send({ topic: 'a', payload: 'x' })?.then(() => {
      taken = true;
    });
    await settled();
    expect(taken).toBe(false);
    for (const drained of waiting) drained();
    await taking;
    expect(taken).toBe(true);
    stop();
    await end();
  });

  it.each([
    [[]],
    [['']],
    [['a', 'a/#/b']],
    [['a+']],
    [['a\u0000']],
    [['a', '--', '#/a']],
    [['a', '--count', '0']],
    [['a', '--count', '1.5']],
    [['a', '--timeout', '5']],
    [['a', '--to', 'mqtt://ann:hush@h']],
  ])('answers %j with 2, and goes nowhere', async (argv) => {
    const { gateway, end } = start(argv);
    const { code, err } = await end();
    expect(code).toBe(2);
    expect(err).not.toContain('hush');
    expect(gateway.targets).toEqual([]);
  });

  it('that cannot begin ends with 1 and the reason', async () => {
    const { gateway, end } = start(['#'], {}, (played) =>
      played.refusals.push(new HoldfastError('unavailable', 'nobody listens at x')),
    );
    const { code, err } = await end();
    expect(code).toBe(1);
    expect(err).toMatch(/^holdfast: nobody listens at x[^\n]*\n$/);
    expect(gateway.targets).toHaveLength(1);
  });

  it('goes on with the filters that are granted, and ends with 1 where none is', async () => {
    const some = start(['a', 'b'], {}, (played) => played.refused.push('a'));
    await settled();
    expect(some.seen.err).toContain('holdfast: "a": refused\n');
    some.stop();
    expect((await some.end()).code).toBe(0);
    const none = start(['a', 'b'], {}, (played) => played.refused.push('a', 'b'));
    expect(await none.end()).toMatchObject({ code: 1, err: 'holdfast: "a": refused; "b": refused\n' });
    expect(none.gateway.told).toContain('close');
  });
});

describe('a lost connection', () => {
  it('is tried again, and again, and said', async () => {
    const { gateway, clock, seen, stop, end } = start(['#']);
    await settled();
    gateway.refusals.push(new HoldfastError('unavailable', 'nobody there'));
    gateway.lose('closed');
    await settled();
    expect(seen.err).toContain('holdfast: closed; trying again\n');
    clock.advance(1_000);
    await settled();
    expect(seen.err).toContain('holdfast: nobody there; trying again\n');
    clock.advance(2_000);
    await settled();
    expect(seen.err).toContain('holdfast: listening at mqtt://127.0.0.1:1883 again\n');
    gateway.send({ topic: 'a', payload: 'x' });
    stop();
    expect(await end()).toMatchObject({ code: 0, out: 'a x\n' });
    expect(gateway.targets).toHaveLength(3);
  });

  it('is not tried again where that is of no use', async () => {
    const { gateway, clock, end } = start(['#']);
    await settled();
    gateway.refusals.push(new HoldfastError('not_authorized', 'wrong password'));
    gateway.lose('closed');
    await settled();
    clock.advance(1_000);
    expect(await end()).toMatchObject({ code: 1 });
  });

  it('is not tried again once it is interrupted', async () => {
    const { gateway, stop, end } = start(['#', '--timeout', '1h']);
    await settled();
    gateway.lose('closed');
    await settled();
    stop();
    expect((await end()).code).toBe(0);
    expect(gateway.targets).toHaveLength(1);
  });
});
