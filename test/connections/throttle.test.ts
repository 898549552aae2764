import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { defaultThrottle, LoginThrottle } from '../../src/connections/index.ts';
import { networkOf } from '../../src/connections/throttle.ts';
import { FakeClock } from '../support/fake-clock.ts';

let clock: FakeClock;
let throttle: LoginThrottle;
beforeEach(() => {
  clock = new FakeClock();
  throttle = new LoginThrottle(clock);
});

function fail(times: number, address = '192.0.2.1', name = ''): void {
  for (let n = 0; n < times; n++) throttle.failed(address, name);
}

describe('attempts from an address', () => {
  it('cost nothing until a few have failed, then wait longer with each failure, up to a cap', () => {
    fail(4);
    expect(throttle.delayFor('192.0.2.1')).toBe(0);
    const delays = Array.from({ length: 7 }, () => {
      throttle.failed('192.0.2.1');
      clock.advance(10_000);
      return throttle.delayFor('192.0.2.1');
    });
    expect(delays).toEqual([250, 500, 1_000, 2_000, 3_000, 3_000, 3_000]);
    expect(throttle.delayFor('192.0.2.2')).toBe(0);
  });

  it('wait one behind the other, and beyond a bound are refused at once', () => {
    fail(7);
    expect([1, 2, 3, 4].map(() => throttle.delayFor('192.0.2.1'))).toEqual([1_000, 2_000, 3_000, 'refuse']);
    clock.advance(1_000);
    expect([1, 2].map(() => throttle.delayFor('192.0.2.1'))).toEqual([3_000, 'refuse']);
  });

  it('are forgiven after a while without a failure, however the wall clock steps', () => {
    fail(20);
    clock.step(1e9);
    expect(throttle.delayFor('192.0.2.1')).toBe(3_000);
    clock.advance(defaultThrottle.window);
    expect(throttle.delayFor('192.0.2.1')).toBe(3_000);
    clock.advance(1);
    expect(throttle.delayFor('192.0.2.1')).toBe(0);
  });

  it('of a user who logged in from there before are counted by themselves', () => {
    throttle.succeeded('192.0.2.1', 'ann');
    fail(20, '192.0.2.1', 'bob');
    expect(throttle.delayFor('192.0.2.1', 'ann')).toBe(0);
    expect(throttle.delayFor('192.0.2.1', 'carl')).toBe(3_000);
    fail(6, '192.0.2.1', 'ann');
    expect(throttle.delayFor('192.0.2.1', 'ann')).toBe(500);
  });

  it('are not forgiven for a success: who has an account of his own could go on guessing', () => {
    for (let n = 0; n < 10; n++) {
      throttle.failed('192.0.2.1', 'ann');
      throttle.succeeded('192.0.2.1', 'mallory');
    }
    expect(throttle.delayFor('192.0.2.1', 'ann')).toBe(3_000);
  });
});

describe('what is remembered', () => {
  it('is bounded in addresses, the one not seen for longest goes first', () => {
    for (let n = 0; n < 20_000; n++) throttle.failed(`10.0.${n >> 8}.${n & 255}`);
    expect(throttle.size).toBe(defaultThrottle.addresses);
  });

  it('is bounded in names per address', () => {
    for (let n = 0; n < 200; n++) throttle.succeeded('192.0.2.1', `user${n}`);
    fail(20, '192.0.2.1');
    expect(throttle.delayFor('192.0.2.1', 'user199')).toBe(0);
    expect(throttle.delayFor('192.0.2.1', 'user0')).toBe(3_000);
  });
});

describe('a network', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:0db8:1:2::6', '2001:db8:1:2::/64'],
    ['2001:db8::6', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['', ''],
  ])('of %s is %s', (address, network) => {
    expect(networkOf(address)).toBe(network);
  });

  it('of any IPv6 address is that of its first half', () => {
    fc.assert(
      fc.property(fc.ipV6(), (address) => {
        expect(networkOf(address)).toMatch(/^(?:[0-9a-f]{1,4}:){4}:\/64$|^\d+\.\d+\.\d+\.\d+$/);
      }),
    );
  });
});
