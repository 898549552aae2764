/** What stands in a `PendingList`: the list's own links, and whether it is in one. */
export interface Pending<Item> {
  older: Item | undefined;
  newer: Item | undefined;
  listed: boolean;
}

/**
 * Items that wait, oldest first, linked through themselves.
 *
 * Not a `Map`: one with a few entries that come and go by the thousand replaces its table over and over, and each dead
 * table, old by then, keeps what stood in it alive until the next full collection. That cost a third of the hot path. For
 * the same reason an item that leaves lets go of its neighbours.
 */
export class PendingList<Item extends Pending<Item>> {
  #oldest: Item | undefined;
  #newest: Item | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get oldest(): Item | undefined {
    return this.#oldest;
  }

  add(item: Item): void {
    const newest = this.#newest;
    item.older = newest;
    item.newer = undefined;
    item.listed = true;
    if (newest === undefined) this.#oldest = item;
    else newest.newer = item;
    this.#newest = item;
    this.#size += 1;
  }

  /** Whether it was there. */
  delete(item: Item): boolean {
    if (!item.listed) return false;
    const { older, newer } = item;
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    item.older = undefined;
    item.newer = undefined;
    item.listed = false;
    this.#size -= 1;
    return true;
  }
}
