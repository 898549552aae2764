import { describe, expect, it } from 'vitest';
import { LoopDelay } from '../../src/telemetry/loop-delay.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** A clock whose timers are late by `late` milliseconds. */
class LateClock extends FakeClock {
  late = 0;
  samples = 0;
  override monotonic(): number {
    return super.monotonic() + this.late;
  }
  override every(name: string, ms: number, run: () => void) {
    return super.every(name, ms, () => {
      this.samples += 1;
      run();
    });
  }
}

describe('the delay of the event loop', () => {
  it('is sampled once a second while there is nothing to do, and more often while there is', () => {
    const clock = new LateClock();
    let share = 0;
    const delay = new LoopDelay(clock, () => share);
    delay.start();
    clock.advance(10_000);
    expect(clock.samples).toBe(10);
    share = 0.5;
    clock.advance(11_000);
    expect(clock.samples).toBe(11 + 500);
    share = 0;
    clock.advance(11_000);
    expect(clock.samples).toBeLessThan(11 + 500 + 65);
    delay.stop();
    expect(clock.armed).toEqual([]);
  });

  it('is told since it was last asked, the long task after a silence included', () => {
    const clock = new LateClock();
    const delay = new LoopDelay(clock, () => 0);
    delay.start();
    clock.advance(5_000);
    expect(delay.take()).toEqual({ mean: 0, longest: 0 });
    clock.late = 801;
    clock.advance(1_000);
    expect(delay.take()).toEqual({ mean: 800, longest: 800 });
    expect(delay.take()).toEqual({ mean: 0, longest: 0 });
    delay.stop();
  });

  it('has a mean over all samples of a loop that has work', () => {
    const clock = new LateClock();
    const delay = new LoopDelay(clock, () => 1);
    delay.start();
    clock.advance(1_000);
    delay.take();
    clock.late = 41;
    clock.advance(20);
    clock.advance(60);
    expect(delay.take()).toEqual({ mean: 10, longest: 40 });
    delay.stop();
  });
});
