/** Things that fall due, in buckets of `resolution` milliseconds: never early, late by one bucket at most. */
export class Deadlines<Item> {
  readonly #resolution: number;
  readonly #buckets = new Map<number, Set<Item>>();
  readonly #bucketOf = new Map<Item, number>();

  constructor(resolution: number) {
    this.#resolution = resolution;
  }

  get size(): number {
    return this.#bucketOf.size;
  }

  /** `due`: monotonic milliseconds. An item that is in already moves. */
  set(item: Item, due: number): void {
    this.delete(item);
    const bucket = Math.ceil(due / this.#resolution);
    const items = this.#buckets.get(bucket);
    if (items === undefined) this.#buckets.set(bucket, new Set([item]));
    else items.add(item);
    this.#bucketOf.set(item, bucket);
  }

  delete(item: Item): void {
    const bucket = this.#bucketOf.get(item);
    if (bucket === undefined) return;
    this.#bucketOf.delete(item);
    const items = this.#buckets.get(bucket);
    items?.delete(item);
    if (items?.size === 0) this.#buckets.delete(bucket);
  }

  /** Takes out what is due at `now`, earliest bucket first. */
  takeDue(now: number): Item[] {
    const last = Math.floor(now / this.#resolution);
    const due = [...this.#buckets.keys()].filter((bucket) => bucket <= last).sort((a, b) => a - b);
    const items = due.flatMap((bucket) => [...(this.#buckets.get(bucket) ?? [])]);
    for (const item of items) this.delete(item);
    return items;
  }
}
