/** What may be waited with until it is due together with the rest, milliseconds. */
const grid = 1_000;

interface Repeated {
  readonly every: number;
  readonly run: () => void;
  due: number;
}

/** The real timers that a `Beat` stands on. Milliseconds. */
export interface BeatTimers {
  monotonic(): number;
  after(ms: number, run: () => void): { cancel(): void };
}

/**
 * Repeats what is due every so many whole seconds, all of it on the same second: a process with ten such timers wakes up
 * once a second, not ten times. The first time comes up to a second late, the others do not drift.
 */
export class Beat {
  readonly #timers: BeatTimers;
  readonly #repeated = new Set<Repeated>();
  #armed: { readonly due: number; readonly timer: { cancel(): void } } | undefined;

  constructor(timers: BeatTimers) {
    this.#timers = timers;
  }

  /** Whether a period, milliseconds, is one of those that it keeps. */
  static keeps(ms: number): boolean {
    return ms >= grid && ms % grid === 0;
  }

  /** Runs `run` every `ms` milliseconds; returns what ends that. */
  every(ms: number, run: () => void): { cancel(): void } {
    const one: Repeated = { every: ms, run, due: Math.ceil((this.#timers.monotonic() + ms) / grid) * grid };
    this.#repeated.add(one);
    this.#arm();
    return {
      cancel: () => {
        this.#repeated.delete(one);
        this.#arm();
      },
    };
  }

  #arm(): void {
    let due = Number.POSITIVE_INFINITY;
    for (const one of this.#repeated) due = Math.min(due, one.due);
    if (due === this.#armed?.due) return;
    this.#armed?.timer.cancel();
    this.#armed =
      due === Number.POSITIVE_INFINITY
        ? undefined
        : { due, timer: this.#timers.after(Math.max(1, due - this.#timers.monotonic()), () => this.#fire()) };
  }

  #fire(): void {
    this.#armed = undefined;
    // a timer may come a moment early
    const now = this.#timers.monotonic() + 2;
    const due = [...this.#repeated].filter((one) => one.due <= now);
    // what was missed is not made up for
    for (const one of due) one.due += one.every * (Math.floor((now - one.due) / one.every) + 1);
    this.#arm();
    for (const one of due) {
      // cancelled by one before it
      if (!this.#repeated.has(one)) continue;
      try {
        one.run();
      } catch (thrown) {
        // as of a timer of its own: the others go on
        process.nextTick(() => {
          throw thrown;
        });
      }
    }
  }
}
