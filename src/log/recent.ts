import type { StoredMessage } from '../domain/index.ts';
import { type Chunk, type Correct, readChunk } from './chunk.ts';

/** The chunks committed last, kept in memory so that readers who keep up never touch the disk. */
export class RecentChunks {
  readonly #maxBytes: number;
  readonly #correct: Correct;
  #chunks: Chunk[] = [];
  #dropped = 0;
  #bytes = 0;

  constructor(maxBytes: number, correct: Correct) {
    this.#maxBytes = maxBytes;
    this.#correct = correct;
  }

  add(chunk: Chunk): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.bytes.length;
    while (this.#bytes > this.#maxBytes && this.#chunks.length - this.#dropped > 1) {
      this.#bytes -= this.#chunks[this.#dropped]?.bytes.length ?? 0;
      this.#dropped += 1;
    }
    if (this.#dropped > 256) {
      this.#chunks = this.#chunks.slice(this.#dropped);
      this.#dropped = 0;
    }
  }

  /** Messages from `from` on, or undefined where `from` is older than what is kept. */
  read(from: bigint, max: { records: number; bytes: number }): { messages: StoredMessage[]; next: bigint } | undefined {
    let low = this.#dropped;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const header = this.#chunks[middle]?.header;
      if (header !== undefined && header.first + BigInt(header.count) <= from) low = middle + 1;
      else high = middle;
    }
    const start = this.#chunks[low]?.header;
    if (start === undefined || start.first > from) return undefined;
    const messages: StoredMessage[] = [];
    let next = from;
    let bytes = 0;
    for (let index = low; index < this.#chunks.length; index++) {
      const chunk = this.#chunks[index];
      if (chunk === undefined || messages.length >= max.records || bytes >= max.bytes) break;
      readChunk(chunk.bytes, this.#correct(chunk.header), next, messages);
      next = chunk.header.first + BigInt(chunk.header.count);
      bytes += chunk.bytes.length;
    }
    return { messages, next };
  }

  clear(): void {
    this.#chunks = [];
    this.#dropped = 0;
    this.#bytes = 0;
  }
}
