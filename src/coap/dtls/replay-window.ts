const width = 64;

/** Which sequence numbers of an epoch were seen: the highest and the 64 up to it, RFC 6347 §4.1.2.6. */
export class ReplayWindow {
  #highest = -1;
  /** Bit n: `#highest - n` was seen; of the second, `#highest - 32 - n`. */
  #recent = 0;
  #older = 0;

  get highest(): number {
    return this.#highest;
  }

  /** Whether a record of that number may be new. Asked before it is opened. */
  fresh(sequence: number): boolean {
    const behind = this.#highest - sequence;
    if (behind < 0) return true;
    if (behind >= width) return false;
    return behind < 32 ? ((this.#recent >>> behind) & 1) === 0 : ((this.#older >>> (behind - 32)) & 1) === 0;
  }

  /** A record of that number was authentic. Marked only then. */
  mark(sequence: number): void {
    const ahead = sequence - this.#highest;
    if (ahead <= 0) {
      const behind = -ahead;
      if (behind < 32) this.#recent |= 1 << behind;
      else if (behind < width) this.#older |= 1 << (behind - 32);
      return;
    }
    if (ahead >= width) {
      this.#recent = 0;
      this.#older = 0;
    } else if (ahead >= 32) {
      this.#older = this.#recent << (ahead - 32);
      this.#recent = 0;
    } else {
      this.#older = (this.#older << ahead) | (this.#recent >>> (32 - ahead));
      this.#recent <<= ahead;
    }
    this.#recent |= 1;
    this.#highest = sequence;
  }
}
