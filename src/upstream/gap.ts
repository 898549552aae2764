import { formatMessageId } from '../domain/index.ts';

/** Records that an upstream will never get. Ids from `from` up to, not including, `to`. */
export interface Gap {
  readonly from: bigint;
  readonly to: bigint;
  /** How many, at most; undefined where that cannot be known. */
  readonly count: number | undefined;
  /**
   * `overflow`: the queue's bound was met, and the log moved the cursor. `trimmed`: the log no longer held them when
   * their turn came. `damaged`: they could not be read back. `age`: they had waited for longer than they may.
   */
  readonly reason: 'overflow' | 'trimmed' | 'damaged' | 'age';
}

/** What the status topic says, as JSON. */
export interface StatusDocument {
  readonly state: 'online' | 'offline';
  readonly gateway: string;
  readonly version?: string;
  /** Wall time in milliseconds at which the state began; absent in the will. */
  readonly since?: number;
  /** The latest gaps, the last one last. */
  readonly gaps?: readonly Gap[];
  /** Messages lost since the process started, by reason. */
  readonly lost?: Readonly<Record<string, number>>;
}

/** The bytes of a status message. Ids are 16 hexadecimal digits. */
export function statusPayload(status: StatusDocument): Uint8Array {
  const { gaps, ...rest } = status;
  const shown = gaps?.map((gap) => ({ ...gap, from: formatMessageId(gap.from), to: formatMessageId(gap.to) }));
  return Buffer.from(JSON.stringify(shown === undefined || shown.length === 0 ? rest : { ...rest, gaps: shown }));
}

/** Remembers the latest gaps and how much was lost in all. */
export class Gaps {
  readonly #limit: number;
  #latest: readonly Gap[] = [];
  readonly #lost = new Map<string, number>();
  readonly #reported = new Map<string, bigint>();

  constructor(limit = 8) {
    this.#limit = limit;
  }

  /** False for a span that was reported before, as happens when it is read again after a reconnect. */
  add(gap: Gap): boolean {
    if (gap.to <= (this.#reported.get(gap.reason) ?? 0n)) return false;
    this.#reported.set(gap.reason, gap.to);
    const last = this.#latest[this.#latest.length - 1];
    const joins = last !== undefined && last.to === gap.from && last.reason === gap.reason;
    const merged: Gap = joins ? { ...gap, from: last.from, count: sum(last.count, gap.count) } : gap;
    this.#latest = [...(joins ? this.#latest.slice(0, -1) : this.#latest), merged].slice(-this.#limit);
    this.#lost.set(gap.reason, (this.#lost.get(gap.reason) ?? 0) + (gap.count ?? 1));
    return true;
  }

  get latest(): readonly Gap[] {
    return this.#latest;
  }

  get lost(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#lost);
  }
}

function sum(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a + b;
}
