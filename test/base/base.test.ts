import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  Backoff,
  crc32c,
  formatDuration,
  formatSize,
  HoldfastError,
  parseDuration,
  parseSize,
  reasonOf,
  type Service,
  ServiceStack,
  systemClock,
} from '../../src/base/index.ts';
import { FakeClock } from '../support/fake-clock.ts';

describe('units', () => {
  it.each([
    ['250ms', 250],
    ['30s', 30_000],
    ['1.5m', 90_000],
    ['12 h', 43_200_000],
    ['30d', 2_592_000_000],
    ['0ms', 0],
  ])('%s is %i ms', (text, ms) => expect(parseDuration(text)).toBe(ms));

  it.each([
    ['512B', 512],
    ['64KiB', 65_536],
    ['1.5MiB', 1_572_864],
    ['2GB', 2_000_000_000],
  ])('%s is %i bytes', (text, bytes) => expect(parseSize(text)).toBe(bytes));

  it.each(['', '30', 's', '-1s', '1e3s', '1 week', '30S', '99999999999999d', '1.s'])('%j is no duration', (text) =>
    expect(parseDuration(text)).toBeUndefined(),
  );

  it.each(['', '64', '64kib', '-1B', '64Ki'])('%j is no size', (text) => expect(parseSize(text)).toBeUndefined());

  it('are read back as they were written', () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 40 }), (n) => {
        expect(parseDuration(formatDuration(n))).toBe(n);
        expect(parseSize(formatSize(n))).toBe(n);
      }),
    );
  });
});

describe('back-off', () => {
  it('doubles its bound from base to cap, and starts again', () => {
    const backoff = new Backoff({ base: 100, cap: 1_000 }, () => 1);
    expect(Array.from({ length: 6 }, () => backoff.next())).toEqual([100, 200, 400, 800, 1_000, 1_000]);
    backoff.reset();
    expect(backoff.next()).toBe(100);
  });

  it('is anywhere between nothing and the bound, for ever', () => {
    const backoff = new Backoff({ base: 100, cap: 1_000 });
    for (let n = 0; n < 5_000; n++) expect(backoff.next()).toBeLessThanOrEqual(1_000);
    expect(new Backoff({ base: 100, cap: 1_000 }, () => 0).next()).toBe(0);
  });
});

describe('CRC-32C', () => {
  // RFC 3720, appendix B.4
  it.each([
    ['32 zeroes', Buffer.alloc(32), 0x8a9136aa],
    ['32 ones', Buffer.alloc(32, 0xff), 0x62a8ab43],
    ['32 rising', Buffer.from(Array.from({ length: 32 }, (_, n) => n)), 0x46dd794e],
    ['32 falling', Buffer.from(Array.from({ length: 32 }, (_, n) => 31 - n)), 0x113fdb5c],
    ['the check value', Buffer.from('123456789'), 0xe3069283],
    ['nothing', Buffer.alloc(0), 0],
  ])('of %s', (_name, bytes, crc) => expect(crc32c(bytes)).toBe(crc));

  it('of a part is that of the part alone', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(64), fc.nat(64), (bytes, a, b) => {
        const start = Math.min(a, b, bytes.length);
        const end = Math.min(Math.max(a, b), bytes.length);
        expect(crc32c(bytes, start, end)).toBe(crc32c(bytes.slice(start, end)));
      }),
    );
  });
});

describe('services', () => {
  const calls: string[] = [];
  const service = (name: string, more: Partial<Service> = {}): Service => ({
    name,
    start: async () => void calls.push(`+${name}`),
    stop: async () => void calls.push(`-${name}`),
    ...more,
  });

  it('start in order and stop in reverse', async () => {
    calls.length = 0;
    const stack = new ServiceStack(new FakeClock());
    await stack.start([service('a'), service('b')], 1_000);
    expect(await stack.stop(1_000)).toEqual([]);
    expect(calls).toEqual(['+a', '+b', '-b', '-a']);
    expect(await stack.stop(1_000)).toEqual([]);
  });

  it('are undone by one that does not start', async () => {
    calls.length = 0;
    const broken = service('b', {
      start: async () => {
        throw new Error('port in use');
      },
    });
    const started = new ServiceStack(new FakeClock()).start([service('a'), broken, service('c')], 1_000);
    await expect(started).rejects.toMatchObject({ code: 'start_failed', message: 'b did not start: port in use' });
    expect(calls).toEqual(['+a', '-b', '-a']);
  });

  it('that do not stop are left behind and named', async () => {
    calls.length = 0;
    const clock = new FakeClock();
    const stack = new ServiceStack(clock);
    const stuck = service('stuck', { stop: () => new Promise(() => undefined) });
    const throws = service('throws', { stop: () => Promise.reject(new Error('no')) });
    await stack.start([service('a'), stuck, throws], 1_000);
    const stopped = stack.stop(500);
    for (let n = 0; n < 20; n++) await Promise.resolve();
    clock.advance(500);
    expect(await stopped).toEqual([
      { service: 'throws', reason: 'no' },
      { service: 'stuck', reason: 'not stopped after 500 ms' },
    ]);
    expect(calls).toContain('-a');
  });
});

describe('errors', () => {
  it('know whether to try again', () => {
    expect(new HoldfastError('overloaded', 'x').transient).toBe(true);
    expect(new HoldfastError('bad_request', 'x').transient).toBe(false);
  });

  it('tell their cause once', () => {
    expect(reasonOf(new Error('a', { cause: new Error('b') }))).toBe('a: b');
    expect(reasonOf(new Error('a: b', { cause: new Error('b') }))).toBe('a: b');
    expect(reasonOf('text')).toBe('text');
  });
});

describe('the system clock', () => {
  it('runs what is not cancelled', async () => {
    const ran: string[] = [];
    systemClock.after('no', 1, () => ran.push('cancelled')).cancel();
    systemClock.soon('no', () => ran.push('cancelled')).cancel();
    const before = systemClock.monotonic();
    await new Promise<void>((resolve) => {
      const every = systemClock.every('tick', 1, () => {
        ran.push('tick');
        every.cancel();
        systemClock.after('end', 5, resolve);
      });
    });
    expect(ran).toEqual(['tick']);
    expect(systemClock.monotonic()).toBeGreaterThan(before);
    expect(systemClock.wall()).toBeGreaterThan(Date.UTC(2020, 0));
  });
});
