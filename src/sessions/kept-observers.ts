import { prefix } from './codec.ts';
import { TextRow } from './text-row.ts';
import type { Row, WriteBehind } from './write-behind.ts';

/**
 * Observers that have no connection, to be gone on with after a restart: each a text of its edge's own. Nothing is promised
 * to them, and they register anew as often as they like, so that the disk hears of them seldom: what has changed by then is
 * written when the edge's owner says so, and at the end. After a crash some of it is of the past.
 */
export class KeptObservers {
  readonly #writer: WriteBehind;
  readonly #texts = new Map<string, () => string>();
  readonly #rows = new Map<string, TextRow>();
  readonly #changed = new Set<string>();

  constructor(writer: WriteBehind) {
    this.#writer = writer;
  }

  /** `text` tells what there is to keep, whenever it is written. */
  keep(name: string, text: () => string): void {
    this.#texts.set(name, text);
    this.#changed.add(name);
  }

  forget(name: string): void {
    if (this.#texts.delete(name)) this.#changed.add(name);
  }

  /** What the disk has of it, if anything, is not to be gone on from: it is written soon. */
  overtaken(name: string): void {
    const row = this.#rows.get(name);
    if (row !== undefined && this.#texts.has(name)) this.#writer.mark(row);
  }

  /** What has changed is written with the next batch. */
  write(): void {
    for (const name of this.#changed) {
      const text = this.#texts.get(name);
      const row = this.#rows.get(name);
      if (text !== undefined) {
        const kept = row ?? new TextRow(prefix.observer, name, text);
        kept.text = text;
        this.#rows.set(name, kept);
        this.#writer.mark(kept);
      } else if (row !== undefined) {
        this.#rows.delete(name);
        this.#writer.remove(row);
      }
    }
    this.#changed.clear();
  }

  /**
   * Those whom an earlier run kept, with their texts: each is to be kept again or forgotten. All of them are written anew; they
   * are on the disk when this resolves.
   * @throws HoldfastError `store_failed`, `unavailable`.
   */
  async settle(): Promise<void> {
    if (this.#rows.size === 0) return;
    for (const name of this.#rows.keys()) this.#changed.add(name);
    this.write();
    await this.#writer.flush(true);
  }

  *all(): Generator<readonly [string, string]> {
    for (const [name, text] of [...this.#texts]) yield [name, text()];
  }

  restore(name: string, text: string): void {
    const row = new TextRow(prefix.observer, name, () => text);
    row.stored = true;
    this.#rows.set(name, row);
    this.#texts.set(name, row.text);
  }

  /** Rows of what was written, for a store that has lost them. */
  rows(): Iterable<Row> {
    return this.#rows.values();
  }
}
