import { crc32c } from '../base/index.ts';
import type { EventPlace } from '../domain/index.ts';

/** Block numbers `[from, to)`. */
export type NumberRange = readonly [from: number, to: number];

/** Postings that were written from a message on, up to the next mark. */
export interface Mark {
  readonly from: bigint;
  readonly postings: number;
}

/** How far the index is: what its blocks hold, and where to go on in the log. */
export interface Progress {
  /** Id of the next message to index, and the place of the next run of events. */
  readonly message: bigint;
  readonly event: EventPlace;
  /** The last of each that was indexed: where the log no longer has them, it is not the one that was indexed. */
  readonly lastMessage: bigint | undefined;
  readonly lastRun: EventPlace | undefined;
  /** Number of the next block. */
  readonly block: number;
  /** Numbers of blocks that are not valid: written by flushes that did not come to their end. */
  readonly void: readonly NumberRange[];
  /** Blocks and postings after the last sweep, and written since. */
  readonly kept: Volume;
  readonly added: Volume;
  /** What is about messages below was given up, since there was no room; 0 where nothing was. */
  readonly floor: bigint;
  /** When what there is was written, oldest first. */
  readonly marks: readonly Mark[];
}

/** Where reading the log goes on, and what was read last. */
export type Place = Pick<Progress, 'message' | 'event' | 'lastMessage' | 'lastRun'>;

export interface Volume {
  readonly blocks: number;
  readonly postings: number;
}

export const nothing: Volume = { blocks: 0, postings: 0 };

const unbounded: Pick<Progress, 'floor' | 'marks'> = { floor: 0n, marks: [] };

const format = 2;

/** The progress of an index that begins at the front of the log. */
export function beginning(message: bigint, event: EventPlace): Progress {
  return {
    message,
    event,
    lastMessage: undefined,
    lastRun: undefined,
    block: 0,
    void: [],
    kept: nothing,
    added: nothing,
    ...unbounded,
  };
}

export function writeProgress(progress: Progress): Buffer {
  const text = JSON.stringify({ format, ...progress }, (_key, value: unknown) =>
    typeof value === 'bigint' ? { id: value.toString(16) } : value,
  );
  const body = Buffer.from(text);
  const row = Buffer.allocUnsafe(4 + body.length);
  row.writeUInt32LE(crc32c(body), 0);
  body.copy(row, 4);
  return row;
}

/** What `writeProgress` wrote; undefined where it is missing, damaged or of another format. */
export function readProgress(row: Buffer | undefined): Progress | undefined {
  if (row === undefined || row.length < 4 || row.readUInt32LE(0) !== crc32c(row, 4)) return undefined;
  const read = JSON.parse(row.toString('utf8', 4), (_key, value: unknown) =>
    isId(value) ? BigInt(`0x${value.id}`) : value,
  ) as Omit<Progress, keyof typeof unbounded> & Partial<typeof unbounded> & { readonly format: number };
  if (read.format !== format) return undefined;
  // an index that had no bound has neither floor nor marks
  return { ...unbounded, ...read, lastMessage: read.lastMessage, lastRun: read.lastRun };
}

export function isVoid(ranges: readonly NumberRange[], number: number): boolean {
  for (const [from, to] of ranges) if (number >= from && number < to) return true;
  return false;
}

function isId(value: unknown): value is { readonly id: string } {
  return typeof value === 'object' && value !== null && 'id' in value && typeof value.id === 'string';
}
