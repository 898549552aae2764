import { describe, expect, it } from 'vitest';
import { Courtesy } from '../../src/rest/courtesy.ts';
import { FakeClock } from '../support/fake-clock.ts';

function setUp(busy: boolean) {
  const clock = new FakeClock();
  const begun: number[] = [];
  const courtesy = new Courtesy(clock, () => busy);
  /** A query that takes so long. */
  const query = (ms: number) =>
    courtesy.run(async () => {
      begun.push(clock.monotonic());
      await new Promise<void>((resolve) => clock.after('a query', ms, resolve));
    });
  const pass = async (ms: number) => {
    for (let n = 0; n < ms; n++) {
      clock.advance(1);
      for (let turn = 0; turn < 4; turn++) await Promise.resolve();
    }
  };
  return { query, pass, begun };
}

describe('queries', () => {
  it('begin at once while there is time', async () => {
    const { query, pass, begun } = setUp(false);
    const all = Promise.all([query(5), query(5), query(5)]);
    await pass(10);
    await all;
    expect(begun).toEqual([0, 0, 0]);
  });

  it('begin one after the other while devices keep the gateway busy, the slower they are the fewer', async () => {
    const { query, pass, begun } = setUp(true);
    const quick = Promise.all([query(1), query(1), query(1)]);
    await pass(40);
    await quick;
    expect(begun).toEqual([0, 10, 20]);
    for (let n = 0; n < 12; n++) {
      const slow = query(50);
      await pass(1_000);
      await slow;
    }
    begun.length = 0;
    const slow = Promise.all([query(50), query(50), query(50)]);
    await pass(1_000);
    await slow;
    const [first = 0, second = 0, third = 0] = begun;
    expect([second - first, third - second].every((gap) => gap > 80 && gap <= 101)).toBe(true);
  });
});
