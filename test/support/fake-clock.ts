import type { Clock, Timer } from '../../src/base/index.ts';

interface Armed {
  readonly name: string;
  readonly run: () => void;
  due: number;
  readonly every: number | undefined;
}

/** A clock that stands still until told. `armed` says which timers wait. */
export class FakeClock implements Clock {
  #wall: number;
  #monotonic = 0;
  readonly #armed = new Set<Armed>();

  constructor(wall = Date.UTC(2026, 0, 1)) {
    this.#wall = wall;
  }

  wall(): number {
    return this.#wall;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  after(name: string, ms: number, run: () => void): Timer {
    return this.#arm({ name, run, due: this.#monotonic + Math.max(0, ms), every: undefined });
  }

  every(name: string, ms: number, run: () => void): Timer {
    return this.#arm({ name, run, due: this.#monotonic + ms, every: ms });
  }

  soon(name: string, run: () => void): Timer {
    return this.after(name, 0, run);
  }

  /** Names of the timers that wait, the next one first. */
  get armed(): readonly string[] {
    return [...this.#armed].sort((a, b) => a.due - b.due).map((timer) => timer.name);
  }

  /** Moves the wall clock alone, as NTP does. */
  step(ms: number): void {
    this.#wall += ms;
  }

  /** Lets `ms` pass; runs what falls due, in order. */
  advance(ms: number): void {
    const until = this.#monotonic + ms;
    for (let next = this.#next(until); next !== undefined; next = this.#next(until)) {
      this.#wall += next.due - this.#monotonic;
      this.#monotonic = next.due;
      if (next.every === undefined) this.#armed.delete(next);
      else next.due += next.every;
      next.run();
    }
    this.#wall += until - this.#monotonic;
    this.#monotonic = until;
  }

  /** Time passes in which nothing runs, as for a process that is stopped; what was due is at the next `advance`. */
  stall(ms: number): void {
    this.#wall += ms;
    this.#monotonic += ms;
    for (const timer of this.#armed) timer.due = Math.max(timer.due, this.#monotonic);
  }

  #next(until: number): Armed | undefined {
    let next: Armed | undefined;
    for (const timer of this.#armed) {
      if (timer.due <= until && (next === undefined || timer.due < next.due)) next = timer;
    }
    return next;
  }

  #arm(timer: Armed): Timer {
    this.#armed.add(timer);
    return { cancel: () => void this.#armed.delete(timer) };
  }
}
