import type { Clock } from '../base/index.ts';
import type { Store } from '../log/index.ts';
import { type BlockHeader, isBodyOf, readHeader, unpackBody } from './block.ts';
import { bodyKey, numberOf, rowKey, termPrefix } from './keys.ts';
import { type Kind, letIn, type Posting, positionFrom, strides } from './posting.ts';
import { isVoid, type NumberRange } from './progress.ts';
import type { RecentList, RecentPostings } from './recent.ts';
import type { PageOf, TimeWindow } from './rows.ts';
import { Slices } from './slices.ts';

/** Which postings of a term are wanted. */
export interface Wanted {
  readonly kind: Kind;
  readonly term: string;
  readonly window: TimeWindow;
  /** The oldest message, or place of events, kept: what lies before is not there. */
  readonly head: bigint;
  readonly headOffset: number;
  /** Only deliveries of this message. */
  readonly delivered?: bigint;
  /** Only connections that were let in, and no more of them than fill the page: the total is not asked for. */
  readonly letIn?: boolean;
}

export interface Found {
  readonly total: number;
  readonly postings: readonly Posting[];
}

export interface ScanDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly recent: RecentPostings;
  /** Milliseconds to add to unsynchronised times of a boot. */
  readonly shiftOf: (boot: number) => number;
  /** Block numbers from here on are not valid yet. */
  readonly numbers: () => { readonly end: number; readonly void: readonly NumberRange[] };
  /** A block is damaged and was left out. */
  readonly damaged: (what: string) => void;
}

const sliceMs = 2;

/**
 * Goes through a term's postings in the order asked for. Blocks that are wanted as a whole are counted by their rows;
 * only those at an edge of what is wanted, and those on the page, are unpacked.
 */
export async function scan(deps: ScanDeps, wanted: Wanted, page: PageOf): Promise<Found> {
  const { store, recent } = deps;
  const { kind, term } = wanted;
  // All of these, and the store's snapshot, are of the same moment: nothing may be awaited between them.
  const lists = recent.lists(kind, term);
  const numbers = deps.numbers();
  const prefix = termPrefix(kind, term);
  const reverse = page.order === 'desc';
  const collector = new Collector(wanted, page, deps.shiftOf);
  const slices = new Slices(deps.clock, 'index query', sliceMs);
  if (reverse) for (const recentList of lists.toReversed()) collector.list(recentList);
  if (collector.done) return collector;
  const range = { gte: rowKey(prefix, 0), lt: rowKey(prefix, numbers.end), reverse };
  for await (const [key, row] of store.entries(range)) {
    if (isVoid(numbers.void, numberOf(key))) continue;
    if (slices.over) await slices.pause();
    const header = readHeader(row, key);
    if (header === undefined) {
      deps.damaged('the row of a block');
      continue;
    }
    if (collector.block(header)) continue;
    const list = await postingsOf(store, kind, key, header);
    if (list === undefined) deps.damaged('the postings of a block');
    else collector.list({ list, length: list.length, boot: header.boot, synced: header.synced });
    if (collector.done) return collector;
  }
  if (!reverse) for (const recentList of lists) collector.list(recentList);
  return collector;
}

/** The postings of a block; undefined where they are missing or damaged. */
export async function postingsOf(
  store: Store,
  kind: Kind,
  key: Buffer,
  header: BlockHeader,
): Promise<number[] | undefined> {
  const body = Buffer.isBuffer(header.body) ? header.body : await store.get(bodyKey(key));
  return body !== undefined && isBodyOf(header, body) ? unpackBody(kind, header, body) : undefined;
}

/** Counts what is wanted and keeps what is on the page. */
class Collector implements Found {
  total = 0;
  readonly postings: Posting[] = [];
  readonly #wanted: Wanted;
  readonly #page: PageOf;
  readonly #stride: number;
  readonly #shiftOf: ScanDeps['shiftOf'];
  #boot = -1;
  /** The head, and the message asked for, counted from the first of `#boot`. */
  #head = 0;
  #delivered = 0;

  constructor(wanted: Wanted, page: PageOf, shiftOf: ScanDeps['shiftOf']) {
    this.#wanted = wanted;
    this.#page = page;
    this.#shiftOf = shiftOf;
    this.#stride = strides[wanted.kind];
  }

  /** Whether more would change nothing. */
  get done(): boolean {
    return this.#wanted.letIn === true && this.postings.length >= this.#page.limit;
  }

  /** Takes a block by what its row says; false where its postings have to be looked at. */
  block(header: BlockHeader): boolean {
    const { window, delivered, kind } = this.#wanted;
    this.#in(header.boot);
    const shift = header.synced ? 0 : this.#shiftOf(header.boot);
    const [from, to] = [window.from - shift, window.to - shift];
    if (header.maxTime < from || header.minTime > to || header.high < this.#head) return true;
    if (this.#wanted.letIn === true) return !header.letIn;
    if (delivered !== undefined) return header.high < this.#delivered || header.low > this.#delivered;
    if (header.minTime < from || header.maxTime > to) return false;
    if (header.low < this.#head || (kind === 'connection' && header.low === this.#head)) return false;
    if (this.total + header.count > this.#page.skip && this.postings.length < this.#page.limit) return false;
    this.total += header.count;
    return true;
  }

  /** Takes the first `length` numbers of a list. */
  list({ list, length, boot, synced }: RecentList): void {
    this.#in(boot);
    const shift = synced ? 0 : this.#shiftOf(boot);
    const stride = this.#stride;
    const { skip, limit, order } = this.#page;
    const step = order === 'asc' ? stride : -stride;
    for (let at = order === 'asc' ? 0 : length - stride; at >= 0 && at < length; at += step) {
      if (!this.#wants(list, at, shift)) continue;
      if (this.total >= skip && this.postings.length < limit)
        this.postings.push(postingAt(list, at, boot, stride, shift));
      this.total += 1;
      if (this.done) return;
    }
  }

  #wants(list: readonly number[], at: number, shift: number): boolean {
    const { window, kind, headOffset } = this.#wanted;
    const time = (list[at] ?? 0) + shift;
    const position = list[at + 1] ?? 0;
    if (time < window.from || time > window.to || position < this.#head) return false;
    if (kind === 'topic') return true;
    const flags = list[at + 2] ?? 0;
    if (kind === 'client') {
      return this.#wanted.delivered === undefined || ((flags & 1) === 1 && position === this.#delivered);
    }
    if (position === this.#head && (list[at + 3] ?? 0) < headOffset) return false;
    return this.#wanted.letIn !== true || flags === letIn;
  }

  #in(boot: number): void {
    if (boot === this.#boot) return;
    this.#boot = boot;
    this.#head = positionFrom(boot, this.#wanted.head);
    this.#delivered = positionFrom(boot, this.#wanted.delivered ?? 0n);
  }
}

function postingAt(list: readonly number[], at: number, boot: number, stride: number, shift: number): Posting {
  return {
    boot,
    time: (list[at] ?? 0) + shift,
    position: list[at + 1] ?? 0,
    flags: stride > 2 ? (list[at + 2] ?? 0) : 0,
    offset: stride > 3 ? (list[at + 3] ?? 0) : 0,
    index: stride > 3 ? (list[at + 4] ?? 0) : 0,
  };
}
