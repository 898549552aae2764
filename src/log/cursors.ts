import { cursorKey } from './keys.ts';
import type { QueueBound } from './segments.ts';
import type { Write } from './store.ts';

/** What a reader that must not lose its place is allowed to hold back. */
export interface QueueOptions {
  readonly maxBytes: number;
  readonly maxRecords: number;
  /** Milliseconds for which a message is kept for the reader; default: for ever. */
  readonly maxAge?: number;
  readonly overflow: 'drop_oldest' | 'reject';
}

/** The places of readers, and which of them hold records back. */
export class Cursors {
  readonly #places = new Map<string, bigint>();
  readonly #moved = new Set<string>();
  readonly #queues = new Map<string, QueueOptions>();

  get(name: string): bigint | undefined {
    return this.#places.get(name);
  }

  move(name: string, to: bigint): void {
    this.#places.set(name, to);
    this.#moved.add(name);
  }

  /** Takes over what the disk has; a place known in memory is newer. */
  restore(places: ReadonlyMap<string, bigint>): void {
    for (const [name, at] of places) if (!this.#places.has(name)) this.#places.set(name, at);
    // a store opened anew may not have got the last of them
    for (const name of this.#places.keys()) this.#moved.add(name);
  }

  holdFor(name: string, options: QueueOptions, otherwise: bigint): void {
    this.#queues.set(name, options);
    if (!this.#places.has(name)) this.move(name, otherwise);
  }

  dropOthers(): void {
    for (const name of [...this.#places.keys()]) {
      if (this.#queues.has(name)) continue;
      this.#places.delete(name);
      this.#moved.add(name);
    }
  }

  /** The queues with their places; one without a place holds nothing back. */
  bounds(): QueueBound[] {
    const bounds: QueueBound[] = [];
    for (const [name, { maxBytes, maxRecords, maxAge = Number.POSITIVE_INFINITY, overflow }] of this.#queues) {
      const at = this.#places.get(name);
      if (at !== undefined) bounds.push({ at, maxBytes, maxRecords, maxAge, dropsOldest: overflow === 'drop_oldest' });
    }
    return bounds;
  }

  get dirty(): boolean {
    return this.#moved.size > 0;
  }

  /** What is to be written of the places that moved since the last call. */
  takeWrites(): Write[] {
    const writes: Write[] = [];
    for (const name of this.#moved) {
      const at = this.#places.get(name);
      if (at === undefined) {
        writes.push({ type: 'del', key: cursorKey(name) });
        continue;
      }
      const value = Buffer.allocUnsafe(8);
      value.writeBigUInt64BE(at, 0);
      writes.push({ type: 'put', key: cursorKey(name), value });
    }
    this.#moved.clear();
    return writes;
  }
}
