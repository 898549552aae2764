interface Waiting {
  readonly alone: boolean;
  readonly enter: () => void;
}

/** Lets many readers in together, or one changer alone, in the order in which they came. */
export class Gate {
  #inside = 0;
  #alone = false;
  readonly #waiting: Waiting[] = [];

  /** Runs `work` while nothing is changed. */
  shared<T>(work: () => Promise<T>): Promise<T> {
    return this.#run(false, work);
  }

  /** Runs `work` while nobody reads. */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    return this.#run(true, work);
  }

  async #run<T>(alone: boolean, work: () => Promise<T>): Promise<T> {
    if (this.#waiting.length > 0 || !this.#fits(alone)) {
      await new Promise<void>((enter) => this.#waiting.push({ alone, enter }));
    } else {
      this.#enter(alone);
    }
    try {
      return await work();
    } finally {
      this.#inside -= 1;
      this.#alone = false;
      this.#admit();
    }
  }

  #fits(alone: boolean): boolean {
    return !this.#alone && (!alone || this.#inside === 0);
  }

  #enter(alone: boolean): void {
    this.#inside += 1;
    this.#alone = alone;
  }

  #admit(): void {
    for (let first = this.#waiting[0]; first !== undefined && this.#fits(first.alone); first = this.#waiting[0]) {
      this.#waiting.shift();
      this.#enter(first.alone);
      first.enter();
    }
  }
}
