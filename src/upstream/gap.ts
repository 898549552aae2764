import { formatMessageId } from '../domain/index.ts';

/** Records that an upstream will never get. Ids from `from` up to, not including, `to`. */
export interface Gap {
  readonly from: bigint;
  readonly to: bigint;
  /** How many, at most; undefined where that cannot be known. */
  readonly count: number | undefined;
  /**
   * `overflow`: a bound of the queue was met, and the log moved the cursor. `trimmed`: the log no longer held them when
   * their turn came. `damaged`: they could not be read back. The others lie among messages that were sent. `age`: they
   * had waited for longer than they may. `qos0`: messages of QoS 0 given up for a bound of the queue, or not queued at
   * all. `superseded`: there was a newer one of the same topic, and the rule keeps only that.
   */
  readonly reason: 'overflow' | 'trimmed' | 'damaged' | 'age' | 'qos0' | 'superseded';
}

/** Reasons by which single messages are passed over; those of one burst make one gap. */
const scattered: ReadonlySet<Gap['reason']> = new Set(['age', 'qos0', 'superseded']);
/** Messages passed over for the same reason within this time are one burst, milliseconds. */
const burst = 60_000;

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
  readonly #addedAt = new Map<string, number>();

  constructor(limit = 8) {
    this.#limit = limit;
  }

  /**
   * `now`: monotonic milliseconds.
   * @returns `known` for a span that was reported before, as happens when it is read again after a reconnect; `grown`
   * where it belongs to the last gap of its reason.
   */
  add(gap: Gap, now: number): 'new' | 'grown' | 'known' {
    if (gap.to <= (this.#reported.get(gap.reason) ?? 0n)) return 'known';
    this.#reported.set(gap.reason, gap.to);
    this.#lost.set(gap.reason, (this.#lost.get(gap.reason) ?? 0) + (gap.count ?? 1));
    const at = this.#latest.findLastIndex(({ reason }) => reason === gap.reason);
    const before = this.#latest[at];
    const recent = now - (this.#addedAt.get(gap.reason) ?? Number.NEGATIVE_INFINITY) < burst;
    this.#addedAt.set(gap.reason, now);
    const joins = before !== undefined && (before.to === gap.from || (scattered.has(gap.reason) && recent));
    const merged: Gap = joins ? { ...gap, from: before.from, count: sum(before.count, gap.count) } : gap;
    this.#latest = [...this.#latest.filter((_, index) => !joins || index !== at), merged].slice(-this.#limit);
    return joins && recent ? 'grown' : 'new';
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
