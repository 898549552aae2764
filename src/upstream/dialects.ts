/** A way to speak to a broker. `bridge` sets the protocol bit by which Mosquitto knows a bridge (no echo, retain kept). */
export type Dialect = '5' | '3.1.1-bridge' | '3.1.1';

const hour = 3_600_000;

interface Step {
  readonly at: number;
  /** Whether the broker said so itself, or the lower dialect connected. Otherwise it is a guess. */
  sure: boolean;
  readonly forgetAt: number;
}

/**
 * Which dialect to try at a broker next. A refusal moves one step down, and the step is remembered for that URL. A
 * socket closed without an answer may as well be a broker going down: such a step is kept only where the lower dialect
 * then connects, and is given up after an hour.
 */
export class Dialects {
  readonly #ladder: readonly Dialect[];
  readonly #steps = new Map<string, Step>();

  constructor(protocol: 'auto' | '5' | '3.1.1') {
    if (protocol === '5') this.#ladder = ['5'];
    else if (protocol === '3.1.1') this.#ladder = ['3.1.1-bridge', '3.1.1'];
    else this.#ladder = ['5', '3.1.1-bridge', '3.1.1'];
  }

  /** `now`: monotonic milliseconds. */
  for(url: string, now: number): Dialect {
    const known = this.#steps.get(url);
    if (known !== undefined && now >= known.forgetAt) this.#steps.delete(url);
    return this.#ladder[this.#steps.get(url)?.at ?? 0] ?? '5';
  }

  /**
   * The broker refused the dialect: `stated` in its CONNACK, or by closing. Whether there is another one to try now;
   * where not, the next attempt begins at the top again.
   */
  refused(url: string, stated: boolean, now: number): boolean {
    const known = this.#steps.get(url);
    const at = (known?.at ?? 0) + 1;
    if (at >= this.#ladder.length) {
      this.#steps.delete(url);
      return false;
    }
    const forgetAt = stated ? (known?.forgetAt ?? Number.POSITIVE_INFINITY) : now + hour;
    this.#steps.set(url, { at, sure: stated && (known?.sure ?? true), forgetAt });
    return true;
  }

  /** The broker accepted what was tried. */
  accepted(url: string): void {
    const known = this.#steps.get(url);
    if (known !== undefined) known.sure = true;
  }

  /** The attempt failed for a reason that has nothing to do with the dialect: guesses are dropped. */
  failed(url: string): void {
    if (this.#steps.get(url)?.sure === false) this.#steps.delete(url);
  }
}
