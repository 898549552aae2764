import { describe, expect, it } from 'vitest';
import { Beat } from '../../src/base/beat.ts';
import { FakeClock } from '../support/fake-clock.ts';

function beatOn(clock: FakeClock): { readonly beat: Beat; readonly wakeUps: () => number } {
  let wakeUps = 0;
  const beat = new Beat({
    monotonic: () => clock.monotonic(),
    after: (ms, run) =>
      clock.after('beat', ms, () => {
        wakeUps += 1;
        run();
      }),
  });
  return { beat, wakeUps: () => wakeUps };
}

describe('what is repeated', () => {
  it('is done on the same second, whenever it began', () => {
    const clock = new FakeClock();
    const { beat, wakeUps } = beatOn(clock);
    const at: Record<string, number[]> = { one: [], other: [], fifth: [] };
    const note = (name: string) => () => void at[name]?.push(clock.monotonic());
    clock.advance(300);
    beat.every(1_000, note('one'));
    clock.advance(450);
    beat.every(1_000, note('other'));
    beat.every(5_000, note('fifth'));
    clock.advance(11_250);
    expect(at.one).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12].map((second) => second * 1_000));
    expect(at.other).toEqual(at.one);
    expect(at.fifth).toEqual([6_000, 11_000]);
    expect(wakeUps()).toBe(11);
  });

  it('never comes before its time', () => {
    const clock = new FakeClock();
    const { beat } = beatOn(clock);
    clock.advance(999);
    let ran = 0;
    beat.every(1_000, () => {
      ran += 1;
    });
    clock.advance(1_000);
    expect(ran).toBe(0);
    clock.advance(1);
    expect(ran).toBe(1);
  });

  it('is not made up for after a standstill, and keeps its second', () => {
    let now = 0;
    let fire = (): void => undefined;
    const beat = new Beat({
      monotonic: () => now,
      after: (_ms, run) => {
        fire = run;
        return { cancel: () => undefined };
      },
    });
    const ran: number[] = [];
    beat.every(1_000, () => ran.push(now));
    for (const at of [1_000, 7_400, 8_000]) {
      now = at;
      fire();
    }
    expect(ran).toEqual([1_000, 7_400, 8_000]);
  });

  it('stops when it is cancelled, by itself or by another of the same second, and leaves no timer', () => {
    const clock = new FakeClock();
    const { beat } = beatOn(clock);
    const ran: string[] = [];
    const first = beat.every(1_000, () => {
      ran.push('first');
      first.cancel();
      second.cancel();
    });
    const second = beat.every(1_000, () => ran.push('second'));
    clock.advance(5_000);
    expect(ran).toEqual(['first']);
    expect(clock.armed).toEqual([]);
  });
});
