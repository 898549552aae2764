import type { HoldfastError } from '../base/index.ts';
import type { Message } from '../domain/index.ts';
import { type Chunk, ChunkWriter } from './chunk.ts';
import type { Write } from './store.ts';

/** Called once the record is on disk, or with the error where it will not be. */
export type Committed = (error: HoldfastError | undefined) => void;

/** What arrived for the next commit: records, the changes that go with them, and who waits to be told. */
export class Gathering {
  #writer = new ChunkWriter();
  #changes: Write[] = [];
  #waiting: Committed[] = [];

  get count(): number {
    return this.#writer.count;
  }

  get bytes(): number {
    return this.#writer.bytes;
  }

  add(message: Message, monotonic: number, done: Committed): void {
    this.#writer.add(message, monotonic);
    this.#waiting.push(done);
  }

  addChange(write: Write): void {
    this.#changes.push(write);
  }

  /** All of it; what arrives from now on is for the commit after. Arguments as of `ChunkWriter.take`. */
  take(...moment: Parameters<ChunkWriter['take']>): { chunk: Chunk; changes: Write[]; waiting: readonly Committed[] } {
    const taken = { chunk: this.#writer.take(...moment), changes: this.#changes, waiting: this.#waiting };
    this.#changes = [];
    this.#waiting = [];
    return taken;
  }

  /** Tells all that wait that it will not come, and forgets their records. */
  fail(error: HoldfastError): void {
    const waiting = this.#waiting;
    this.#writer = new ChunkWriter();
    this.#changes = [];
    this.#waiting = [];
    for (const done of waiting) done(error);
  }
}
