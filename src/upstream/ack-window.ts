interface Entry<Item> {
  readonly item: Item;
  /** Where the cursor stands once this entry and all before it are settled. */
  next: bigint;
  settled: boolean;
  /** Monotonic time of sending; Infinity while it waits to be sent again. */
  sentAt: number;
}

/**
 * What was sent and not yet acknowledged, in log order. Acknowledgements come in any order; the cursor is the end of
 * the contiguous settled prefix. Entries that are settled behind an open one stay in the window: what would be sent
 * again after a loss of the link is never more than `size`.
 */
export class AckWindow<Item> {
  #entries: (Entry<Item> | undefined)[] = [];
  /** Index of the oldest entry in `#entries`, and the slot number of index 0. */
  #start = 0;
  #base = 0;
  #cursor: bigint;
  #open = 0;

  constructor(cursor: bigint) {
    this.#cursor = cursor;
  }

  /** Everything below is acknowledged, skipped or refused for good. */
  get cursor(): bigint {
    return this.#cursor;
  }

  /** Entries from the cursor to the last one sent, settled or not. */
  get size(): number {
    return this.#entries.length - this.#start;
  }

  /** Entries without an acknowledgement. */
  get open(): number {
    return this.#open;
  }

  /** The oldest open entry. */
  get oldest(): { readonly item: Item; readonly sentAt: number } | undefined {
    return this.#entries[this.#start];
  }

  /** Enters a message; `next` is the id after it. The slot number returned settles it. */
  enter(item: Item, next: bigint, sentAt: number): number {
    this.#entries.push({ item, next, settled: false, sentAt });
    this.#open += 1;
    return this.#base + this.#entries.length - 1;
  }

  /** Passes over ids up to `next` that need no acknowledgement: they count with what stands before them. */
  pass(next: bigint): void {
    const last = this.size === 0 ? undefined : this.#entries[this.#entries.length - 1];
    if (last === undefined) this.#cursor = next;
    else last.next = next;
  }

  /** Notes another time of sending; a slot that is settled or unknown is left alone. */
  resent(slot: number, sentAt: number): void {
    const entry = this.#entries[slot - this.#base];
    if (entry !== undefined && !entry.settled) entry.sentAt = sentAt;
  }

  /** Settles a slot; false where it was settled before. */
  settle(slot: number): boolean {
    const entry = this.#entries[slot - this.#base];
    if (entry === undefined || entry.settled) return false;
    entry.settled = true;
    this.#open -= 1;
    for (let first = this.#entries[this.#start]; first?.settled === true; first = this.#entries[this.#start]) {
      this.#cursor = first.next;
      this.#entries[this.#start] = undefined;
      this.#start += 1;
    }
    if (this.#start === this.#entries.length || this.#start >= 1_024) this.#compact();
    return true;
  }

  #compact(): void {
    this.#base += this.#start;
    this.#entries = this.#start === this.#entries.length ? [] : this.#entries.slice(this.#start);
    this.#start = 0;
  }
}
