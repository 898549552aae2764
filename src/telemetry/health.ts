import type { Clock } from '../base/index.ts';

/** A condition that may hold, declared once by the part that can tell. */
export interface Condition {
  readonly code: string;
  /** `degraded`: works, but somebody should look. `failed`: a promise cannot be kept now. */
  readonly severity: 'degraded' | 'failed';
  /** What it means to an operator, one sentence. */
  readonly text: string;
}

/** A condition that holds now. */
export interface ActiveCondition extends Condition {
  /** What in particular, e.g. which upstream; may be empty. */
  readonly detail: string;
  /** Milliseconds for which it has held. */
  readonly age: number;
}

/** The set of conditions that hold now, each under its code and subject. */
export class Health {
  readonly #clock: Clock;
  readonly #active = new Map<string, { condition: Condition; detail: string; since: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Says that `condition` holds for `subject`; the detail may change while it holds.
   * @returns whether that is news: it did not hold, or for another reason.
   */
  raise(condition: Condition, detail = '', subject = ''): boolean {
    const key = `${condition.code}/${subject}`;
    const former = this.#active.get(key);
    const since = former?.since ?? this.#clock.monotonic();
    this.#active.set(key, { condition, detail, since });
    return former?.detail !== detail;
  }

  /** Says that `condition` no longer holds for `subject`. */
  clear(condition: Condition, subject = ''): void {
    this.#active.delete(`${condition.code}/${subject}`);
  }

  /** What holds now, oldest first. */
  active(): readonly ActiveCondition[] {
    const now = this.#clock.monotonic();
    return [...this.#active.values()].map(({ condition, detail, since }) => ({
      ...condition,
      detail,
      age: now - since,
    }));
  }
}
