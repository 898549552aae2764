import type { Clock, Timer } from '../base/index.ts';

/** Between two samples of a loop that has work, and of one that has none, milliseconds. */
const busySampling = 20;
const idleSampling = 1_000;
/** Samples of a busy loop after which it is asked again whether it is. */
const busySamples = 50;
/** The share of time that a loop spends on work from which on it is a busy one. */
const busyShare = 0.1;
/** A sample that comes no later than this is in time: timers have whole milliseconds. */
const tolerance = 1;

/**
 * How late the event loop runs its timers. Where it has work a sample is taken every 20 ms; a loop that has none is not
 * late, and is not woken up to find that out: then once a second, so that the first long task after a silence counts too.
 */
export class LoopDelay {
  readonly #clock: Clock;
  readonly #busyShare: () => number;
  #timer: Timer | undefined;
  #due = 0;
  #count = 0;
  #total = 0;
  #longest = 0;

  /** `share`: the part of the time since it was last asked that the loop spent on work. */
  constructor(clock: Clock, share: () => number = shareOfWork()) {
    this.#clock = clock;
    this.#busyShare = share;
  }

  start(): void {
    this.#sampleIdle();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** Delays since this was last asked, milliseconds; 0 where there was no sample. */
  take(): { readonly mean: number; readonly longest: number } {
    const taken = { mean: this.#count === 0 ? 0 : this.#total / this.#count, longest: this.#longest };
    this.#count = 0;
    this.#total = 0;
    this.#longest = 0;
    return taken;
  }

  #sampleIdle(): void {
    // the clock runs its first one up to a second late
    this.#due = this.#clock.monotonic() + 2 * idleSampling;
    this.#timer = this.#clock.every('event loop', idleSampling, () => {
      this.#sample(idleSampling);
      if (this.#busyShare() < busyShare) return;
      this.stop();
      this.#sampleBusy();
    });
  }

  #sampleBusy(): void {
    let left = busySamples;
    this.#due = this.#clock.monotonic() + busySampling;
    this.#timer = this.#clock.every('event loop', busySampling, () => {
      this.#sample(busySampling);
      left -= 1;
      if (left > 0) return;
      left = busySamples;
      if (this.#busyShare() >= busyShare) return;
      this.stop();
      this.#sampleIdle();
    });
  }

  #sample(period: number): void {
    const now = this.#clock.monotonic();
    const late = Math.max(0, now - this.#due - tolerance);
    this.#due = now + period;
    this.#count += 1;
    this.#total += late;
    this.#longest = Math.max(this.#longest, late);
  }
}

function shareOfWork(): () => number {
  let before = performance.eventLoopUtilization();
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    return utilization;
  };
}
