import { contentFor, mostFor, reclaimedFor } from '../log/index.ts';
import { defaultOptions, type IndexOptions } from './options.ts';
import type { Mark, Progress } from './progress.ts';

/** Marks that are kept: neighbours become one above that. */
const maxMarks = 64;
/** The part of the postings that goes at a time. */
const part = 0.25;
/** Bytes of a posting on the disk where it has a block to itself. */
const postingBytes = 80;
/** Part of the room that what is gathered may fill at once. */
const gathered = 8;

/** The options of an index that is to stay within its bound. */
export function bounded(given: Partial<IndexOptions> | undefined): IndexOptions {
  const options = { ...defaultOptions, ...given };
  const { maxBytes } = options;
  if (!Number.isFinite(maxBytes)) return options;
  const room = contentFor(maxBytes);
  return {
    ...options,
    flushPostings: Math.min(options.flushPostings, Math.ceil(room / gathered / postingBytes)),
    compactBytes: Math.min(options.compactBytes, reclaimedFor(maxBytes)),
  };
}

/** Whether `bytes` of blocks are more than there is room for. */
export function isOver(bytes: number, { maxBytes }: IndexOptions): boolean {
  return Number.isFinite(maxBytes) && bytes > contentFor(maxBytes);
}

/** Bytes that the directory takes at most while it has `bytes` of blocks. */
export function takenBy(bytes: number, { maxBytes }: IndexOptions): number {
  return Number.isFinite(maxBytes) ? mostFor(bytes, maxBytes) : bytes;
}

/** The marks once `postings` more were written from message `from` on, while `head` is the oldest message kept. */
export function marked(marks: readonly Mark[], from: bigint, postings: number, head: bigint): readonly Mark[] {
  const all = [...marks, { from, postings }];
  const kept = all.filter((_, at) => (all[at + 1]?.from ?? head + 1n) > head);
  if (kept.length <= maxMarks) return kept;
  const halved: Mark[] = [];
  for (let at = 0; at < kept.length; at += 2) {
    const mark = kept[at] ?? { from, postings: 0 };
    halved.push({ from: mark.from, postings: mark.postings + (kept[at + 1]?.postings ?? 0) });
  }
  return halved;
}

/** Has the oldest postings go, about a quarter; undefined where none are left. */
export function shed(progress: Progress): Progress | undefined {
  const { marks, message, floor } = progress;
  if (floor >= message) return undefined;
  let left = marks.reduce((sum, { postings }) => sum + postings, 0) * part;
  let at = 0;
  for (; at < marks.length && (left > 0 || at === 0); at++) left -= marks[at]?.postings ?? 0;
  const next = marks[at]?.from ?? message;
  return { ...progress, floor: next > floor ? next : message, marks: marks.slice(at) };
}
