import type { ClockQuality } from '../domain/index.ts';
import { bootOf } from '../domain/index.ts';
import type { ChunkHeader } from './chunk.ts';
import { shiftKey } from './keys.ts';
import { noteWrite } from './notes.ts';
import type { Write } from './store.ts';

/**
 * By how much the wall clock was wrong before it was set, by boot: known once it is set within that boot, since its
 * distance to the monotonic clock then changes. What was recorded before is told with the time that it really was.
 */
export class ClockShifts {
  readonly #shifts = new Map<number, number>();
  #firstBoot = 0;
  #lastBoot = 0;
  /** Wall less monotonic time while the clock could not be believed; milliseconds. */
  #wrong: number | undefined;
  #changed = new Set<number>();

  /** Takes over what the disk has, and says which boot it is; a store that was opened anew begins another one. */
  begin(stored: ReadonlyMap<number, number>, boot: number): void {
    for (const [known, shift] of stored) this.#shifts.set(known, shift);
    if (this.#firstBoot === 0) this.#firstBoot = boot;
    this.#lastBoot = boot;
  }

  /** Looks at the clocks: often enough that the moment of setting lies between two calls. */
  look(wall: number, monotonic: number, quality: ClockQuality): void {
    if (quality === 'unsynced') {
      this.#wrong = wall - monotonic;
      return;
    }
    if (this.#wrong === undefined) return;
    const shift = Math.round(wall - monotonic - this.#wrong);
    this.#wrong = undefined;
    // one run of the process has one monotonic clock, however often the store was opened
    for (let boot = this.#firstBoot; boot <= this.#lastBoot; boot++) {
      this.#shifts.set(boot, shift);
      this.#changed.add(boot);
    }
  }

  /** Milliseconds to add to a time of that boot that was taken before the clock was set; undefined where unknown. */
  of(boot: number): number | undefined {
    return this.#shifts.get(boot);
  }

  /** The header with the time that it was. */
  correct(header: ChunkHeader): ChunkHeader {
    if (header.quality === 'synced') return header;
    const shift = this.#shifts.get(bootOf(header.first));
    return shift === undefined ? header : { ...header, wall: header.wall + shift, quality: 'synced' };
  }

  /** What is to be written since the last call. Boots before that of `head` have nothing left. */
  takeWrites(head: bigint): Write[] {
    const writes: Write[] = [];
    for (const boot of this.#shifts.keys()) {
      if (boot >= bootOf(head)) continue;
      this.#shifts.delete(boot);
      writes.push({ type: 'del', key: shiftKey(boot) });
    }
    for (const boot of this.#changed) {
      const value = Buffer.allocUnsafe(8);
      value.writeDoubleLE(this.#shifts.get(boot) ?? 0, 0);
      writes.push(noteWrite(shiftKey(boot), value));
    }
    this.#changed = new Set();
    return writes;
  }
}
