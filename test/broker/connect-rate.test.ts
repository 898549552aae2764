import { describe, expect, it } from 'vitest';
import { ConnectRate } from '../../src/broker/connect-rate.ts';

const admitted = (rate: ConnectRate, times: number, now: number) =>
  Array.from({ length: times }, () => rate.admits(now)).filter(Boolean).length;

describe('the rate of connections', () => {
  it('admits a second’s worth at once, and then as many as have become due', () => {
    const rate = new ConnectRate(10, 0);
    expect(admitted(rate, 50, 0)).toBe(10);
    expect(admitted(rate, 50, 500)).toBe(5);
    expect(admitted(rate, 50, 600)).toBe(1);
  });

  it('saves up no more than a second’s worth', () => {
    const rate = new ConnectRate(10, 0);
    expect(admitted(rate, 50, 3_600_000)).toBe(10);
  });

  it('of 0 is no limit', () => {
    expect(admitted(new ConnectRate(0, 0), 1_000, 0)).toBe(1_000);
  });
});
