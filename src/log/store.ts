import { existsSync } from 'node:fs';
import { mkdir, rename, stat, truncate } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { HoldfastError, reasonOf } from '../base/index.ts';

/** One write of a batch. */
export type Write =
  | { readonly type: 'put'; readonly key: Buffer; readonly value: Buffer }
  | { readonly type: 'del'; readonly key: Buffer };

export interface Range {
  readonly gte: Buffer;
  readonly lt: Buffer;
  readonly reverse?: boolean;
}

/** An ordered store of bytes: what the log needs of LevelDB, so that a test can stand in for the disk. */
export interface Store {
  /**
   * Opens it, repairing or moving aside what does not open; says what it did about it.
   * @throws HoldfastError `start_failed` where another process has it open.
   */
  open(): Promise<StoreOpening>;
  close(): Promise<void>;
  /** Writes all or nothing; with `sync`, resolved only once it is on the disk. */
  write(writes: readonly Write[], sync: boolean): Promise<void>;
  get(key: Buffer): Promise<Buffer | undefined>;
  /** Entries in key order. */
  entries(range: Range): AsyncIterable<readonly [Buffer, Buffer]>;
  /** Deletes a range, unsynced. */
  clear(range: Range): Promise<void>;
  /** Gives the space of deleted entries in the range back. */
  compact(range: Range): Promise<void>;
  /** Approximate bytes on disk of the range. */
  size(range: Range): Promise<number>;
}

export type StoreOpening =
  | { readonly how: 'opened' | 'created' }
  | { readonly how: 'repaired'; readonly reason: string }
  | { readonly how: 'moved_aside'; readonly reason: string; readonly to: string };

const options = {
  keyEncoding: 'buffer',
  valueEncoding: 'buffer',
  cacheSize: 1 << 20,
  writeBufferSize: 4 << 20,
  maxOpenFiles: 64,
} as const;

/** Bytes of LevelDB's own diary, and the number of writes between two looks at it. */
const maxDiary = 1 << 20;
const looksAtDiary = 4_096;

/** A LevelDB directory. */
export class LevelStore implements Store {
  readonly #directory: string;
  #db: ClassicLevel<Buffer, Buffer> | undefined;
  #writes = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async open(): Promise<StoreOpening> {
    await mkdir(dirname(this.#directory), { recursive: true });
    const existed = existsSync(this.#directory);
    let reason: string;
    try {
      await this.#open();
      return { how: existed ? 'opened' : 'created' };
    } catch (thrown) {
      if (isLocked(thrown)) {
        const text = `another process, a holdfast most likely, has ${this.#directory} open; stop it, or set another state_dir`;
        throw new HoldfastError('start_failed', text, { cause: thrown });
      }
      reason = reasonOf(thrown);
      // a repair, or another directory, would fare no better, and what is there is sound
      if (isDisk(reason)) throw thrown;
    }
    try {
      await ClassicLevel.repair(this.#directory);
      await this.#open();
      return { how: 'repaired', reason };
    } catch (thrown) {
      reason = `${reason}; repair: ${reasonOf(thrown)}`;
      if (isDisk(reason)) throw thrown;
    }
    const to = await this.#moveAside();
    await this.#open();
    return { how: 'moved_aside', reason, to };
  }

  async close(): Promise<void> {
    const db = this.#db;
    this.#db = undefined;
    await db?.close();
  }

  async write(writes: readonly Write[], sync: boolean): Promise<void> {
    this.#writes += 1;
    if (this.#writes % looksAtDiary === 0) void this.#shortenDiary();
    // a batch that is built step by step costs a fraction of one that is handed over as an array
    const batch = this.#opened().batch();
    for (const write of writes) {
      if (write.type === 'put') batch.put(write.key, write.value);
      else batch.del(write.key);
    }
    await batch.write({ sync });
  }

  get(key: Buffer): Promise<Buffer | undefined> {
    return this.#opened().get(key);
  }

  async *entries(range: Range): AsyncIterable<readonly [Buffer, Buffer]> {
    const iterator = this.#opened().iterator({ ...range, highWaterMarkBytes: 256 * 1024 });
    try {
      for (let batch = await iterator.nextv(64); batch.length > 0; batch = await iterator.nextv(64)) yield* batch;
    } finally {
      await iterator.close();
    }
  }

  clear(range: Range): Promise<void> {
    return this.#opened().clear({ gte: range.gte, lt: range.lt });
  }

  compact(range: Range): Promise<void> {
    return this.#opened().compactRange(range.gte, range.lt);
  }

  size(range: Range): Promise<number> {
    return this.#opened().approximateSize(range.gte, range.lt);
  }

  #opened(): ClassicLevel<Buffer, Buffer> {
    if (this.#db === undefined) throw new Error('the store is closed');
    return this.#db;
  }

  async #open(): Promise<void> {
    const db = new ClassicLevel<Buffer, Buffer>(this.#directory, options);
    try {
      await db.open();
    } catch (thrown) {
      await db.close().catch(() => undefined);
      throw thrown;
    }
    this.#db = db;
  }

  /** LevelDB notes what it does in a file that it never shortens; it appends, so that the file may be emptied under it. */
  async #shortenDiary(): Promise<void> {
    const path = join(this.#directory, 'LOG');
    const { size } = await stat(path).catch(() => ({ size: 0 }));
    if (size > maxDiary) await truncate(path).catch(() => undefined);
  }

  async #moveAside(): Promise<string> {
    for (let n = 1; ; n++) {
      const to = `${this.#directory}.corrupt-${n}`;
      if (existsSync(to)) continue;
      await rename(this.#directory, to);
      return to;
    }
  }
}

/** Whether a failure is the disk's, or the system's, and not the store's. */
function isDisk(reason: string): boolean {
  return /No space left on device|Disk quota exceeded|Permission denied|Read-only file system|Too many open files/.test(
    reason,
  );
}

function isLocked(thrown: unknown): boolean {
  const cause = thrown instanceof Error ? thrown.cause : undefined;
  return cause instanceof Error && 'code' in cause && cause.code === 'LEVEL_LOCKED';
}
