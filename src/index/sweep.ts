import type { Store, Write } from '../log/index.ts';
import { type BlockHeader, bindRow, maxPostings, packBlock, readHeader } from './block.ts';
import { bodyKey, kindOf, numberOf, rowsBegin, rowsEnd, sameTerm } from './keys.ts';
import { type Kind, positionFrom, strides } from './posting.ts';
import { isVoid, type NumberRange, type Volume } from './progress.ts';
import { postingsOf } from './scan.ts';

/** Rows looked at in one step, about: a step ends where blocks need not be merged across its end. */
const stepRows = 128;
/** A block of so many postings is left as it is. */
const fullPostings = 256;

/** Which blocks are not valid, and what is still in the log, at the time of a step. */
export interface SweepBounds {
  readonly void: readonly NumberRange[];
  readonly head: bigint;
  readonly eventHead: bigint;
}

export interface SweepStep {
  readonly writes: readonly Write[];
  /** Bytes of the blocks that are deleted. */
  readonly freed: number;
  /** Whether the pass is at its end. */
  readonly done: boolean;
  /** Whether something could not be read: the index is to be built anew. */
  readonly damaged: boolean;
}

interface Block {
  readonly key: Buffer;
  readonly header: BlockHeader;
  readonly bytes: number;
}

/**
 * One pass over all blocks, in steps: deletes those that lie before the log's head or are void, and merges neighbours
 * that are small. Blocks are merged where the result is several times the largest of them, or full; so a posting is
 * written again a few times in its life, however small the flushes are.
 */
export class SweepPass {
  readonly #store: Store;
  #from: Buffer = rowsBegin;
  #blocks = 0;
  #postings = 0;
  #damaged = false;

  constructor(store: Store) {
    this.#store = store;
  }

  /** What the pass has left so far. */
  get kept(): Volume {
    return { blocks: this.#blocks, postings: this.#postings };
  }

  /** Reads on and says what is to be written; nothing else may change or delete blocks until that is done. */
  async step(bounds: SweepBounds): Promise<SweepStep> {
    const { groups, dead, done } = await this.#look(bounds);
    const writes: Write[] = [];
    let freed = 0;
    for (const block of dead) freed += remove(block, writes);
    for (const group of groups) {
      const small = group.slice(mergedFrom(group));
      const merged = small.length > 0 && (await this.#merge(small, bounds, writes));
      for (const { header } of merged ? group.slice(0, -small.length) : group) this.#keep(header.count);
    }
    return { writes, freed, done, damaged: this.#damaged };
  }

  async #look(bounds: SweepBounds): Promise<{ groups: Block[][]; dead: Block[]; done: boolean }> {
    const groups: Block[][] = [];
    const dead: Block[] = [];
    let group: Block[] = [];
    let rows = 0;
    for await (const [key, row] of this.#store.entries({ gte: this.#from, lt: rowsEnd })) {
      const kind = kindOf(key);
      const header = readHeader(row, key);
      if (kind === undefined || header === undefined) {
        this.#damaged = true;
        continue;
      }
      const block = { key, header, bytes: key.length + row.length };
      rows += 1;
      if (rows > stepRows && !fits(group, block)) {
        if (group.length > 0) groups.push(group);
        this.#from = key;
        return { groups, dead, done: false };
      }
      if (isVoid(bounds.void, numberOf(key)) || isTrimmed(kind, header, bounds)) {
        dead.push(block);
        continue;
      }
      if (fits(group, block)) {
        group.push(block);
        continue;
      }
      if (group.length > 0) groups.push(group);
      group = [block];
    }
    if (group.length > 0) groups.push(group);
    this.#from = rowsEnd;
    return { groups, dead, done: true };
  }

  /** @returns false where a block cannot be read and all is left as it is. */
  async #merge(group: readonly Block[], bounds: SweepBounds, writes: Write[]): Promise<boolean> {
    const [first] = group;
    const kind = first === undefined ? undefined : kindOf(first.key);
    if (first === undefined || kind === undefined) return false;
    const { boot, synced } = first.header;
    const head = headOf(kind, boot, bounds);
    const stride = strides[kind];
    const list: number[] = [];
    for (const { key, header } of group) {
      const part = await postingsOf(this.#store, kind, key, header);
      if (part === undefined) {
        this.#damaged = true;
        return false;
      }
      for (let at = 0; at < part.length; at += stride) {
        if ((part[at + 1] ?? 0) < head) continue;
        for (let n = 0; n < stride; n++) list.push(part[at + n] ?? 0);
      }
    }
    for (const block of group) remove(block, writes);
    if (list.length === 0) return true;
    const { row, body } = packBlock(kind, boot, synced, list);
    writes.push({ type: 'put', key: first.key, value: bindRow(row, first.key) });
    if (body !== undefined) writes.push({ type: 'put', key: bodyKey(first.key), value: body });
    this.#keep(list.length / stride);
    return true;
  }

  #keep(postings: number): void {
    this.#blocks += 1;
    this.#postings += postings;
  }
}

function headOf(kind: Kind, boot: number, bounds: SweepBounds): number {
  return positionFrom(boot, kind === 'connection' ? bounds.eventHead : bounds.head);
}

function isTrimmed(kind: Kind, header: BlockHeader, bounds: SweepBounds): boolean {
  return header.high < headOf(kind, header.boot, bounds);
}

function fits(group: readonly Block[], block: Block): boolean {
  const [first] = group;
  if (first === undefined || !sameTerm(first.key, block.key)) return false;
  const { boot, synced, count } = block.header;
  if (boot !== first.header.boot || synced !== first.header.synced) return false;
  return count < fullPostings && first.header.count < fullPostings && postingsIn(group) + count <= maxPostings;
}

/** Where those of the group begin that are worth merging, as many as possible; the group's end where none are. */
function mergedFrom(group: readonly Block[]): number {
  let from = group.length;
  let total = 0;
  let largest = 0;
  for (let at = group.length - 1; at >= 0; at--) {
    const count = group[at]?.header.count ?? 0;
    total += count;
    largest = Math.max(largest, count);
    if (at < group.length - 1 && (total >= fullPostings || total >= 4 * largest)) from = at;
  }
  return from;
}

function postingsIn(group: readonly Block[]): number {
  return group.reduce((sum, { header }) => sum + header.count, 0);
}

function remove({ key, header, bytes }: Block, writes: Write[]): number {
  writes.push({ type: 'del', key });
  if (Buffer.isBuffer(header.body)) return bytes;
  writes.push({ type: 'del', key: bodyKey(key) });
  return bytes + key.length + header.body.bytes;
}
