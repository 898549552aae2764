import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { HoldfastError, makeDirectory, reasonOf, replaceFile, syncDirectory } from '../base/index.ts';
import { type Logger, silentLogger } from '../telemetry/index.ts';
import {
  type Examined,
  endedInMerge,
  examine,
  forgetClosed,
  noteClosed,
  spoilBadBlocks,
  tableBytes,
} from './level-files.ts';
import { trimNotes } from './level-notes.ts';
import { Renewal } from './renewal.ts';
import { bufferFor, notesFor } from './room.ts';
import { setAside } from './set-aside.ts';

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
   * Opens it, repairing or moving aside what does not open, or what is distrusted; says what it did about it.
   * @throws HoldfastError `start_failed` where another process has it open.
   */
  open(distrust?: Distrust): Promise<StoreOpening>;
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

/** Why a store that opens is not to be used as it is: what it holds does not read, even after a repair. */
export interface Distrust {
  readonly reason: string;
  readonly beyondRepair: boolean;
}

export type StoreOpening =
  /** `passedOver`: what of its files does not read and is left out. */
  | { readonly how: 'opened' | 'created'; readonly passedOver?: string }
  /** `to`: where the files are that could not be used. */
  | { readonly how: 'repaired'; readonly reason: string; readonly to?: string }
  | { readonly how: 'moved_aside'; readonly reason: string; readonly to: string };

export interface LevelStoreOptions {
  /** Damaged copies that are kept beside it at most. Default: 2. */
  readonly keep?: number;
  /**
   * Bytes of tables up to which all of them are read, and their checksums compared, before it is opened. Default: 32 MiB,
   * a second's work for a slow processor. A larger store is read whole only where it ended the process.
   */
  readonly verify?: number;
  /** Bytes that the directory may take: LevelDB's own files are kept small beside that. Default: as many as it likes. */
  readonly maxBytes?: number;
  /** Bytes that LevelDB gathers in memory, and in one journal, before it makes a table of them. Default: 4 MiB at most. */
  readonly writeBufferSize?: number;
  readonly logger?: Logger;
}

const options = {
  keyEncoding: 'buffer',
  valueEncoding: 'buffer',
  cacheSize: 1 << 20,
  maxOpenFiles: 64,
} as const;

/** Bytes of tables of a small directory, and full buffers between two looks at LevelDB's own notes. */
const smallTable = 1 << 20;
const looksAtNotes = 16;

/** A LevelDB directory. */
export class LevelStore implements Store {
  readonly #directory: string;
  readonly #given: Required<LevelStoreOptions>;
  #db: ClassicLevel<Buffer, Buffer> | undefined;
  /** Bytes written since the last look at LevelDB's own notes. */
  #written = 0;
  readonly #renewal: Renewal;
  /** An opening that nobody has asked for yet. */
  #begun: Promise<StoreOpening> | undefined;

  constructor(directory: string, given: LevelStoreOptions = {}) {
    this.#directory = directory;
    const maxBytes = given.maxBytes ?? Number.POSITIVE_INFINITY;
    const writeBufferSize = bufferFor(maxBytes);
    this.#given = { keep: 2, verify: 32 << 20, writeBufferSize, logger: silentLogger, ...given, maxBytes };
    this.#renewal = new Renewal(() => this.#renew());
  }

  /** Begins to open it: what comes of that, the next `open` tells. */
  begin(): void {
    this.#begun ??= this.#openWhole();
    this.#begun.catch(() => undefined);
  }

  async open(distrust?: Distrust): Promise<StoreOpening> {
    const begun = this.#begun;
    this.#begun = undefined;
    if (distrust === undefined) return begun ?? this.#openWhole();
    await begun?.catch(() => undefined);
    await this.close();
    return this.#openWhole(distrust);
  }

  async #openWhole(distrust?: Distrust): Promise<StoreOpening> {
    await makeDirectory(dirname(this.#directory), 0o777);
    const opening = await this.#openOrMend(distrust);
    // LevelDB leaves it open which manifest is the current one, and whether its directory is there
    await syncDirectory(this.#directory);
    await syncDirectory(dirname(this.#directory));
    return opening;
  }

  async #openOrMend(distrust?: Distrust): Promise<StoreOpening> {
    const existed = existsSync(this.#directory);
    // asking for the lock begins another diary
    const suspect = existed && (await endedInMerge(this.#directory));
    if (existed) await this.#checkLock();
    const { unsound, manifest, passedOver } = await this.#examine(suspect);
    let reason = distrust?.reason ?? unsound;
    try {
      if (distrust === undefined && manifest !== undefined) await this.#choose(manifest);
      if (reason === undefined || (distrust === undefined && manifest !== undefined)) {
        await this.#open();
        if (reason !== undefined) return { how: 'repaired', reason };
        return { how: existed ? 'opened' : 'created', ...(passedOver === undefined ? {} : { passedOver }) };
      }
    } catch (thrown) {
      reason = reasonOf(thrown);
      // a repair, or another directory, would fare no better, and what is there is sound
      if (isDisk(reason)) throw thrown;
    }
    try {
      if (distrust?.beyondRepair !== true) {
        await spoilBadBlocks(this.#directory);
        await ClassicLevel.repair(this.#directory);
        await this.#open();
        const to = await this.#setAside(join(this.#directory, 'lost'));
        return { how: 'repaired', reason, ...(to === undefined ? {} : { to }) };
      }
    } catch (thrown) {
      reason = `${reason}; repair: ${reasonOf(thrown)}`;
      if (isDisk(reason)) throw thrown;
    }
    const to = (await this.#setAside(this.#directory)) ?? '';
    await this.#open();
    return { how: 'moved_aside', reason, to };
  }

  async close(): Promise<void> {
    await this.#begun?.catch(() => undefined);
    this.#begun = undefined;
    await this.#renewal.underWay;
    const db = this.#db;
    this.#db = undefined;
    if (db === undefined) return;
    await db.close();
    await noteClosed(this.#directory).catch(() => undefined);
  }

  async write(writes: readonly Write[], sync: boolean): Promise<void> {
    await this.#renewal.beside(() => {
      // a batch that is built step by step costs a fraction of one that is handed over as an array
      const batch = this.#opened().batch();
      for (const write of writes) {
        if (write.type === 'put') {
          batch.put(write.key, write.value);
          this.#written += write.value.length;
        } else batch.del(write.key);
      }
      return batch.write({ sync });
    });
    if (this.#written < looksAtNotes * this.#given.writeBufferSize) return;
    this.#written = 0;
    if (await trimNotes(this.#directory, notesFor(this.#given.maxBytes))) this.#renewal.want();
  }

  get(key: Buffer): Promise<Buffer | undefined> {
    return this.#renewal.beside(() => this.#opened().get(key));
  }

  async *entries(range: Range): AsyncIterable<readonly [Buffer, Buffer]> {
    if (this.#renewal.underWay !== undefined) await this.#renewal.underWay;
    const iterator = this.#opened().iterator({ ...range, highWaterMarkBytes: 256 * 1024 });
    this.#renewal.begun();
    let last: Buffer | undefined;
    try {
      for (let batch = await iterator.nextv(64); batch.length > 0; batch = await iterator.nextv(64)) {
        yield* batch;
        last = batch.at(-1)?.[0];
      }
      return;
    } catch (thrown) {
      if (!isDamage(reasonOf(thrown))) throw thrown;
    } finally {
      await iterator.close();
      this.#renewal.ended();
    }
    // one by one up to the place that does not read
    yield* this.#singly(range, last);
  }

  async *#singly(range: Range, behind: Buffer | undefined): AsyncIterable<readonly [Buffer, Buffer]> {
    if (this.#renewal.underWay !== undefined) await this.#renewal.underWay;
    const { gte, lt, reverse = false } = range;
    const rest = reverse ? { gte, lt: behind ?? lt } : { ...(behind === undefined ? { gte } : { gt: behind }), lt };
    const iterator = this.#opened().iterator({ ...rest, reverse });
    this.#renewal.begun();
    try {
      for (let one = await iterator.nextv(1); one.length > 0; one = await iterator.nextv(1)) yield* one;
    } finally {
      await iterator.close();
      this.#renewal.ended();
    }
  }

  clear(range: Range): Promise<void> {
    return this.#renewal.beside(() => this.#opened().clear({ gte: range.gte, lt: range.lt }));
  }

  compact(range: Range): Promise<void> {
    return this.#renewal.beside(() => this.#opened().compactRange(range.gte, range.lt));
  }

  size(range: Range): Promise<number> {
    return this.#renewal.beside(() => this.#opened().approximateSize(range.gte, range.lt));
  }

  #opened(): ClassicLevel<Buffer, Buffer> {
    if (this.#db === undefined) throw new Error('the store is closed');
    return this.#db;
  }

  async #open(): Promise<void> {
    const db = new ClassicLevel<Buffer, Buffer>(this.#directory, {
      ...options,
      writeBufferSize: this.#given.writeBufferSize,
      ...(this.#given.maxBytes < 64 << 20 ? { maxFileSize: smallTable } : {}),
    });
    try {
      await db.open();
    } catch (thrown) {
      await db.close().catch(() => undefined);
      throw thrown;
    }
    this.#db = db;
    await forgetClosed(this.#directory).catch(() => undefined);
  }

  /** Opens it again, so that LevelDB begins a new list of tables. */
  async #renew(): Promise<void> {
    const db = this.#db;
    this.#db = undefined;
    try {
      await db?.close();
      if (db !== undefined) await this.#open();
      await syncDirectory(this.#directory);
    } catch (thrown) {
      // who uses it next finds it closed, and opens it anew
      this.#given.logger.warn({ reason: reasonOf(thrown) }, 'the store was not opened again');
    }
  }

  /**
   * LevelDB asks for the lock before anything else, and a repair not at all.
   * @throws HoldfastError `start_failed`.
   */
  async #checkLock(): Promise<void> {
    const db = new ClassicLevel(this.#directory, { createIfMissing: false, errorIfExists: true });
    try {
      await db.open();
    } catch (thrown) {
      if (!isLocked(thrown)) return;
      const text = `another process, a holdfast most likely, has ${this.#directory} open; stop it, or set another state_dir`;
      throw new HoldfastError('start_failed', text, { cause: thrown });
    } finally {
      await db.close().catch(() => undefined);
    }
  }

  async #examine(suspect: boolean): Promise<Examined> {
    try {
      const all = suspect || (await tableBytes(this.#directory)) <= this.#given.verify;
      return await examine(this.#directory, all);
    } catch (thrown) {
      const unsound = reasonOf(thrown);
      if (isDisk(unsound)) throw thrown;
      return { unsound, manifest: undefined, passedOver: undefined };
    }
  }

  /** Has CURRENT name a list of tables. */
  async #choose(manifest: string): Promise<void> {
    await replaceFile(join(this.#directory, 'CURRENT'), `${manifest}\n`);
  }

  async #setAside(path: string): Promise<string | undefined> {
    if (!existsSync(path)) return undefined;
    return setAside(path, this.#directory, this.#given.keep, this.#given.logger);
  }
}

/** Where what could not be used of a store is, for a condition's detail. */
export function asideOf(opening: StoreOpening): string {
  if (opening.how === 'moved_aside') return `the old one is at ${opening.to}`;
  const to = opening.how === 'repaired' ? opening.to : undefined;
  return to === undefined ? 'repaired' : `repaired, what could not be used is at ${to}`;
}

/** Whether a failure says that files of the store are damaged or missing. */
export function isDamage(reason: string): boolean {
  return /Corruption|No such file or directory|Invalid argument/.test(reason);
}

/** Whether a failure is the disk's, or the system's, and not the store's. */
export function isDisk(reason: string): boolean {
  return /ENOSPC|EDQUOT|EACCES|EROFS|EMFILE|No space left on device|Disk quota exceeded|Permission denied|Read-only file system|Too many open files/.test(
    reason,
  );
}

function isLocked(thrown: unknown): boolean {
  const cause = thrown instanceof Error ? thrown.cause : undefined;
  return cause instanceof Error && 'code' in cause && cause.code === 'LEVEL_LOCKED';
}
