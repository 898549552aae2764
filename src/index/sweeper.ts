import type { Clock } from '../base/index.ts';
import { laterOf } from '../domain/index.ts';
import type { Store } from '../log/index.ts';
import type { Gate } from './gate.ts';
import type { IndexedLog } from './indexed-log.ts';
import { everything } from './keys.ts';
import type { IndexOptions } from './options.ts';
import type { Progress, Volume } from './progress.ts';
import { SweepPass } from './sweep.ts';

export interface SweeperDeps {
  readonly store: Store;
  readonly gate: Gate;
  readonly log: IndexedLog;
  readonly clock: Clock;
  readonly options: IndexOptions;
}

/** What a pass began with. */
interface Begun {
  readonly pass: SweepPass;
  readonly added: Volume;
  readonly void: Progress['void'];
  /** Whether it has to make room. */
  readonly shed: boolean;
}

/** Decides when a pass over the blocks is due, and takes it step by step. */
export class Sweeper {
  readonly #deps: SweeperDeps;
  #begun: Begun | undefined;
  /** The log's head at the last pass, and when that was. */
  #head: bigint | undefined;
  /** What was given up by then. */
  #floor = 0n;
  #at: number;
  #freed = 0;
  #compacting: Promise<void> | undefined;

  constructor(deps: SweeperDeps) {
    this.#deps = deps;
    this.#at = deps.clock.monotonic();
  }

  /** Whether there is something to do. A pass costs reading every row: so it is due once about as many came as there were. */
  due({ added, kept, void: voids, floor }: Progress): boolean {
    if (this.#begun !== undefined || voids.length > 0 || floor > this.#floor) return true;
    const { options, log, clock } = this.#deps;
    if (added.blocks >= Math.max(options.sweepBlocks, kept.blocks)) return true;
    if (kept.postings + added.postings === 0 || log.head === this.#head) return false;
    return (
      added.postings >= Math.max(options.sweepPostings, kept.postings / 4) ||
      clock.monotonic() - this.#at >= options.sweepInterval
    );
  }

  /**
   * Takes one step. Queries are kept out only while its changes are written.
   * @returns the progress as it is at the end of a pass, undefined before that; `damaged` where a block cannot be read.
   */
  async step(progress: Progress): Promise<Progress | 'damaged' | undefined> {
    const { store, gate, log, clock } = this.#deps;
    this.#begun ??= this.#begin(progress);
    const { pass, added, void: voids, shed } = this.#begun;
    const bounds = {
      void: progress.void,
      head: laterOf(log.head, progress.floor),
      eventHead: laterOf(log.events.head.position, progress.floor),
    };
    const step = await pass.step(bounds).catch(() => undefined);
    if (step === undefined || step.damaged) {
      this.#begun = undefined;
      return 'damaged';
    }
    if (step.writes.length > 0) await gate.exclusive(() => store.write(step.writes, false));
    this.#freed += step.freed;
    if (!step.done) return undefined;
    this.#begun = undefined;
    this.#at = clock.monotonic();
    await this.#reclaim(shed);
    return {
      ...progress,
      kept: pass.kept,
      added: { blocks: progress.added.blocks - added.blocks, postings: progress.added.postings - added.postings },
      void: progress.void.filter((range) => !voids.includes(range)),
    };
  }

  /** The blocks are others now. */
  async reset(): Promise<void> {
    this.#begun = undefined;
    this.#freed = 0;
    await this.settled();
  }

  /** Resolved once the space that is being given back is. */
  async settled(): Promise<void> {
    await this.#compacting;
  }

  #begin(progress: Progress): Begun {
    const shed = progress.floor > this.#floor;
    this.#head = this.#deps.log.head;
    this.#floor = progress.floor;
    return { pass: new SweepPass(this.#deps.store), added: progress.added, void: progress.void, shed };
  }

  /**
   * Blocks to be deleted lie all over the store, so to give their space back is to write all of it anew: done once half
   * of it is free, or where room is wanted.
   */
  async #reclaim(wanted: boolean): Promise<void> {
    const { store, options } = this.#deps;
    const size = await store.size(everything).catch(() => 0);
    if (this.#compacting !== undefined) {
      if (!wanted) return;
      await this.#compacting;
    }
    if (!wanted && this.#freed < Math.max(options.compactBytes, size / 2)) return;
    this.#freed = 0;
    this.#compacting = store
      .compact(everything)
      .catch(() => undefined)
      .finally(() => {
        this.#compacting = undefined;
      });
  }
}
