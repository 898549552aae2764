/**
 * The only file with real timers and real time. Everything else takes a `Clock` in its constructor,
 * so that tests run on a fake one.
 */

import { Beat } from './beat.ts';

/** A timer that was armed and can be taken back. Cancelling twice, or after it fired, does nothing. */
export interface Timer {
  cancel(): void;
}

/** Time as the process sees it. `name` says what a timer is for; it shows in tests and diagnostics. */
export interface Clock {
  /** Wall time, milliseconds since 1970-01-01T00:00Z. May jump either way: never measure an interval with it. */
  wall(): number;
  /** Monotonic time in milliseconds (fractional) from an arbitrary origin. Never steps. */
  monotonic(): number;
  /** Runs `run` once, `ms` milliseconds from now. */
  after(name: string, ms: number, run: () => void): Timer;
  /** Runs `run` every `ms` milliseconds until cancelled; for whole seconds the first time comes up to a second late. */
  every(name: string, ms: number, run: () => void): Timer;
  /** Runs `run` after the input/output events that are already waiting. */
  soon(name: string, run: () => void): Timer;
}

class Interval implements Timer {
  readonly #handle: NodeJS.Timeout;
  constructor(handle: NodeJS.Timeout) {
    this.#handle = handle;
  }
  cancel(): void {
    clearTimeout(this.#handle);
  }
}

class Immediate implements Timer {
  readonly #handle: NodeJS.Immediate;
  constructor(handle: NodeJS.Immediate) {
    this.#handle = handle;
  }
  cancel(): void {
    clearImmediate(this.#handle);
  }
}

const monotonic = () => performance.now();
const after = (ms: number, run: () => void) => new Interval(setTimeout(run, ms));
const beat = new Beat({ monotonic, after });

/** The clock of the running machine. */
export const systemClock: Clock = {
  wall: () => Date.now(),
  monotonic,
  after: (_name, ms, run) => after(ms, run),
  every: (_name, ms, run) => (Beat.keeps(ms) ? beat.every(ms, run) : new Interval(setInterval(run, ms))),
  soon: (_name, run) => new Immediate(setImmediate(run)),
};
