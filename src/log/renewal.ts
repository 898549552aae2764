/**
 * Finds the moment at which a store may be closed and opened again while it is in use: when nothing is under way in it.
 * What comes in meanwhile waits until that is over.
 */
export class Renewal {
  readonly #renew: () => Promise<void>;
  #inside = 0;
  #wanted = false;
  #underWay: Promise<void> | undefined;

  /** `renew` must not throw. */
  constructor(renew: () => Promise<void>) {
    this.#renew = renew;
  }

  /** Resolved once it is over; undefined where none is under way. */
  get underWay(): Promise<void> | undefined {
    return this.#underWay;
  }

  /** Renews as soon as nothing is under way. */
  want(): void {
    this.#wanted = true;
    this.#look();
  }

  /** Something is under way, from here up to `ended`. */
  begun(): void {
    this.#inside += 1;
  }

  ended(): void {
    this.#inside -= 1;
    this.#look();
  }

  /** Runs `work` when no renewal is under way, and keeps one from beginning. */
  async beside<T>(work: () => Promise<T>): Promise<T> {
    if (this.#underWay !== undefined) await this.#underWay;
    this.begun();
    try {
      return await work();
    } finally {
      this.ended();
    }
  }

  #look(): void {
    if (!this.#wanted || this.#inside > 0 || this.#underWay !== undefined) return;
    this.#wanted = false;
    this.#underWay = this.#renew().finally(() => {
      this.#underWay = undefined;
    });
  }
}
