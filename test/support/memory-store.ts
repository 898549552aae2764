import type { NumberFile, Range, Store, StoreOpening, Write } from '../../src/log/index.ts';

type Operation =
  | { readonly kind: 'write'; readonly writes: readonly Write[] }
  | { readonly kind: 'clear'; readonly range: Range };

/**
 * A store in memory that knows what a power cut would leave: writes reach its disk in order, and whatever came after the
 * last synced one may be lost, from any point on.
 */
export class MemoryStore implements Store {
  #entries = new Map<string, Buffer>();
  #pending: Operation[] = [];
  #durable = new Map<string, Buffer>();
  /** Set to make every write fail until the store is opened anew (LevelDB's errors are sticky). */
  broken = false;
  /** Set to keep it from opening. */
  unopenable = false;
  /** Keys (as latin1) whose block does not read. */
  readonly unreadable = new Set<string>();
  /** While set, synced writes wait for `release`. */
  held = false;
  #waiting: (() => void)[] = [];
  opened = false;

  async open(): Promise<StoreOpening> {
    if (this.unopenable) throw new Error('no such device');
    this.opened = true;
    this.broken = false;
    return { how: 'opened' };
  }

  async close(): Promise<void> {
    this.opened = false;
  }

  async write(writes: readonly Write[], sync: boolean): Promise<void> {
    this.#check();
    if (this.held && sync) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#check();
    apply(this.#entries, writes);
    this.#pending.push({ kind: 'write', writes: writes.map(copyOf) });
    if (sync) this.#settle(this.#pending.length);
  }

  /** Lets the synced writes that wait go on. */
  release(): void {
    this.held = false;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  async get(key: Buffer): Promise<Buffer | undefined> {
    this.#checkRead(key.toString('latin1'));
    return this.#entries.get(key.toString('latin1'));
  }

  async *entries(range: Range): AsyncIterable<readonly [Buffer, Buffer]> {
    const keys = this.#keys(range);
    if (range.reverse === true) keys.reverse();
    for (const key of keys) {
      this.#checkRead(key);
      const value = this.#entries.get(key);
      if (value !== undefined) yield [Buffer.from(key, 'latin1'), value];
    }
  }

  async clear(range: Range): Promise<void> {
    this.#check();
    for (const key of this.#keys(range)) this.#entries.delete(key);
    this.#pending.push({ kind: 'clear', range });
  }

  async compact(): Promise<void> {
    this.#check();
  }

  async size(): Promise<number> {
    return 0;
  }

  /** What is on the disk after a power cut that lost the last `lose` of the unsynced operations. */
  afterPowerCut(lose = Number.POSITIVE_INFINITY): MemoryStore {
    const survivor = new MemoryStore();
    const kept = this.#pending.slice(0, Math.max(0, this.#pending.length - lose));
    survivor.#durable = new Map(this.#durable);
    for (const operation of kept) run(survivor.#durable, operation);
    survivor.#entries = new Map(survivor.#durable);
    return survivor;
  }

  /** Unsynced operations. */
  get unsynced(): number {
    return this.#pending.length;
  }

  /** Changes the value of the nth key that starts with `letter`, as a failing card would. */
  damage(letter: string, n: number, change: (value: Buffer) => Buffer | undefined): void {
    const key = [...this.#entries.keys()].filter((one) => one.startsWith(letter)).sort()[n];
    const value = key === undefined ? undefined : this.#entries.get(key);
    if (key === undefined || value === undefined) throw new Error(`no entry ${n} under ${letter}`);
    const changed = change(Buffer.from(value));
    for (const entries of [this.#entries, this.#durable]) {
      if (changed === undefined) entries.delete(key);
      else if (entries.has(key)) entries.set(key, changed);
    }
  }

  /** Makes the block of the nth key that starts with `letter` unreadable. */
  spoil(letter: string, n: number): void {
    const key = [...this.#entries.keys()].filter((one) => one.startsWith(letter)).sort()[n];
    if (key !== undefined) this.unreadable.add(key);
  }

  count(letter: string): number {
    return [...this.#entries.keys()].filter((key) => key.startsWith(letter)).length;
  }

  #settle(operations: number): void {
    for (const operation of this.#pending.splice(0, operations)) run(this.#durable, operation);
  }

  #keys(range: Range): string[] {
    const from = range.gte.toString('latin1');
    const to = range.lt.toString('latin1');
    return [...this.#entries.keys()].filter((key) => key >= from && key < to).sort();
  }

  /** Reads still work on a store whose writes fail, as LevelDB's do. */
  #checkRead(key: string): void {
    if (!this.opened) throw new Error('the store is closed');
    if (this.unreadable.has(key)) throw new Error('Corruption: block checksum mismatch');
  }

  #check(): void {
    if (!this.opened) throw new Error('the store is closed');
    if (this.broken) throw new Error('no space left on device');
  }
}

function copyOf(write: Write): Write {
  return write.type === 'put' ? { ...write, value: Buffer.from(write.value) } : write;
}

function apply(entries: Map<string, Buffer>, writes: readonly Write[]): void {
  for (const write of writes) {
    const key = write.key.toString('latin1');
    if (write.type === 'put') entries.set(key, Buffer.from(write.value));
    else entries.delete(key);
  }
}

function run(entries: Map<string, Buffer>, operation: Operation): void {
  if (operation.kind === 'write') {
    apply(entries, operation.writes);
    return;
  }
  const from = operation.range.gte.toString('latin1');
  const to = operation.range.lt.toString('latin1');
  for (const key of [...entries.keys()]) if (key >= from && key < to) entries.delete(key);
}

/** A boot number file in memory. */
export class MemoryNumberFile implements NumberFile {
  value = 0;
  async read(): Promise<number> {
    return this.value;
  }
  async write(value: number): Promise<void> {
    this.value = value;
  }
}
