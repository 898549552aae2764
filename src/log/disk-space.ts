import { randomFillSync } from 'node:crypto';
import { open, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { reasonOf } from '../base/index.ts';
import type { Condition, Health, Logger, Metrics } from '../telemetry/index.ts';
import { removeCopies } from './set-aside.ts';

/** `low`: history is deleted to make room. `full`: nothing new is taken. */
export type DiskLevel = 'fine' | 'low' | 'full';

/** The room on the disk that the log is on. */
export interface DiskSpace {
  readonly level: DiskLevel;
  /** Says that so many bytes are about to be written; whether it is time for another look. */
  spend(bytes: number): boolean;
  /** Looks how much room there is. */
  look(): Promise<void>;
  /** To be called once a second, and where `spend` asks for it: looks, unless little can have changed. */
  watch(): Promise<void>;
  /** A write found no room: gives up what was kept for that, so that room can be made. */
  exhausted(): Promise<void>;
}

export const diskLow: Condition = {
  code: 'disk_low',
  severity: 'degraded',
  text: 'Little room is left on the disk; history is deleted to make room.',
};
export const diskFull: Condition = {
  code: 'disk_full',
  severity: 'failed',
  text: 'The disk is full; new messages are refused until there is room.',
};

const MiB = 1024 * 1024;
/** What the store needs at a moment, beside what it holds: four and more tables of 4 MiB each are merged into new ones. */
const leastFull = 24 * MiB;
const mostFull = 64 * MiB;
const mostLow = 256 * MiB;
const ballastBytes = 16 * MiB;
const partBytes = 64 * 1024;
/** Bytes on the disk per byte given to the store: its own log, then a table. */
const amplification = 2;
/** Seconds between looks while nothing is written and there is room for others to fill: `ample` times the mark for `low`. */
const restingSeconds = 5;
const ample = 2;

/** How large a file system is, and what of it may still be written. */
export type Measure = (directory: string) => Promise<{
  readonly bavail: number;
  readonly blocks: number;
  readonly bsize: number;
}>;

/**
 * The disk of a state directory. The marks grow with the disk: `full` is 4 % of it, between 24 and 64 MiB, `low` 10 %, at
 * most 256 MiB. A ballast file of 16 MiB is there to be deleted: a store that has no room at all cannot even delete.
 *
 * It is looked at each second, and at once where half the room above the mark for `full` was written since. Where nothing
 * was, only others can have filled it: with ample room every fifth second will do, and the first write asks for a look.
 */
export class StateDisk implements DiskSpace {
  readonly #directory: string;
  readonly #health: Health;
  readonly #logger: Logger;
  #level: DiskLevel = 'fine';
  /** Bytes that may be written after a look before the next one finds less than the mark for `full`, and those that were. */
  #room = 0;
  #spent = 0;
  #free = 0;
  #ample = false;
  /** Whether nothing was written between the last two looks either: what a write sets off follows within a second. */
  #settled = false;
  /** Seconds that went by without a look. */
  #rested = 0;
  readonly #measure: Measure;

  constructor(deps: { directory: string; health: Health; logger: Logger; metrics: Metrics; measure?: Measure }) {
    this.#directory = deps.directory;
    this.#measure = deps.measure ?? statfs;
    this.#health = deps.health;
    this.#logger = deps.logger;
    deps.metrics.gauge('holdfast_disk_free_bytes', 'Room on the disk of the state directory.', () => this.#free);
  }

  get level(): DiskLevel {
    return this.#level;
  }

  spend(bytes: number): boolean {
    this.#spent += bytes * amplification;
    if (this.#spent >= this.#room && this.#level !== 'full') this.#set('full');
    return this.#rested > 0 || this.#spent * 2 >= this.#room;
  }

  async watch(): Promise<void> {
    const calm = this.#level === 'fine' && this.#ample && this.#settled && this.#spent === 0;
    if (calm && this.#rested + 1 < restingSeconds) this.#rested += 1;
    else await this.look();
  }

  async look(): Promise<void> {
    const found = await this.#measure(this.#directory).catch(() => undefined);
    if (found === undefined) return;
    const { bavail, blocks, bsize } = found;
    const size = blocks * bsize;
    this.#free = bavail * bsize;
    const full = Math.min(Math.max(size * 0.04, leastFull), mostFull);
    const low = Math.min(Math.max(size * 0.1, full * 1.5), mostLow);
    const free = this.#free;
    // a level is left only once there is a little more room than led to it
    if (free < full * (this.#level === 'full' ? 1.25 : 1)) this.#set('full');
    else if (free < low * (this.#level === 'fine' ? 1 : 1.1)) this.#set('low');
    else this.#set('fine');
    this.#room = Math.max(0, free - full);
    this.#ample = free >= low * ample;
    this.#settled = this.#spent === 0;
    this.#spent = 0;
    this.#rested = 0;
    if (this.#level === 'full') await removeCopies(this.#directory, this.#logger);
    if (this.#level === 'fine' && free - ballastBytes > low) await this.#load();
  }

  async exhausted(): Promise<void> {
    this.#set('full');
    await rm(this.#ballast, { force: true });
    await removeCopies(this.#directory, this.#logger);
  }

  #set(level: DiskLevel): void {
    if (level === this.#level) return;
    this.#level = level;
    const free = `${Math.floor(this.#free / MiB)} MiB free`;
    this.#health.clear(diskLow);
    this.#health.clear(diskFull);
    if (level === 'low') this.#health.raise(diskLow, free);
    if (level === 'full') this.#health.raise(diskFull, free);
    const fields = { level, free: this.#free, directory: this.#directory };
    if (level === 'fine') this.#logger.info(fields, 'there is room on the disk again');
    else this.#logger.warn(fields, level === 'low' ? diskLow.text : diskFull.text);
  }

  get #ballast(): string {
    return join(this.#directory, 'ballast');
  }

  /** Puts the ballast there where it is missing. */
  async #load(): Promise<void> {
    const found = await stat(this.#ballast).catch(() => undefined);
    if (found?.size === ballastBytes) return;
    try {
      const file = await open(this.#ballast, 'w', 0o600);
      // a file system that compresses makes nothing of zeros
      const part = Buffer.allocUnsafe(partBytes);
      for (let at = 0; at < ballastBytes; at += partBytes) await file.write(randomFillSync(part));
      await file.close();
    } catch (thrown) {
      this.#logger.warn({ reason: reasonOf(thrown) }, 'the ballast was not written');
    }
  }
}

/** Whether a failure is the disk's lack of room. */
export function isNoRoom(thrown: unknown): boolean {
  return /No space left on device|ENOSPC|Disk quota exceeded|EDQUOT/i.test(reasonOf(thrown));
}
