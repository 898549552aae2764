import type { Message } from '../../domain/index.ts';

/** A message that clients are owed until they acknowledge it; one for all of them. */
export interface Debt {
  readonly id: bigint;
  readonly payload: Uint8Array;
  /** Monotonic time after which it is of no use, milliseconds; Infinity = never. */
  readonly until: number;
  /** How many are owed it. */
  count: number;
}

/** What a message takes beside its payload, and each client's place in it, bytes. */
const overhead = 256;
const place = 16;

export interface DebtsDeps {
  readonly now: () => number;
  /** Bytes of memory in all. */
  readonly maxBytes: number;
  /** The lowest id may have changed. */
  readonly moved: () => void;
}

/** All messages that some client is owed. The lowest id is where the log has to be read again from after a restart. */
export class Debts {
  readonly #deps: DebtsDeps;
  /** Ids rise: those read again come before those that come in. */
  readonly #byId = new Map<bigint, Debt>();
  #newest: Debt | undefined;
  #bytes = 0;

  constructor(deps: DebtsDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#byId.size;
  }

  /** Whether the bytes of all are more than they may be. */
  get full(): boolean {
    return this.#bytes > this.#deps.maxBytes;
  }

  get lowest(): bigint | undefined {
    for (const id of this.#byId.keys()) return id;
    return undefined;
  }

  /** One more client is owed the message. `age`: milliseconds since it was accepted. */
  incur(message: Pick<Message, 'payload' | 'expiry'>, id: bigint, age: number): Debt {
    let debt = this.#newest?.id === id ? this.#newest : this.#byId.get(id);
    if (debt === undefined) {
      const until = message.expiry === 0 ? Number.POSITIVE_INFINITY : this.#deps.now() + message.expiry * 1_000 - age;
      // what came in is a part of something larger
      debt = { id, payload: Buffer.from(message.payload), until, count: 0 };
      this.#newest = debt;
    }
    if (debt.count === 0) {
      this.#byId.set(id, debt);
      this.#bytes += debt.payload.length + overhead;
    }
    this.#bytes += place;
    debt.count += 1;
    return debt;
  }

  /** One client has got it, or is not owed it any more. */
  settle(debt: Debt): void {
    this.#bytes -= place;
    debt.count -= 1;
    if (debt.count > 0) return;
    this.#byId.delete(debt.id);
    this.#bytes -= debt.payload.length + overhead;
    this.#deps.moved();
  }
}

/** Messages handed to an observation and not acknowledged, at most: it sends them one after the other. */
const window = 8;

/** `gone`: the client did not come back. */
export type DropReason = 'queue_full' | 'expired' | 'gone';

export interface OwedDeps {
  readonly debts: Debts;
  readonly now: () => number;
  /** Messages that wait for one subscription. */
  readonly maxMessages: number;
  /** A message was given up. */
  readonly dropped: (reason: DropReason) => void;
}

/** What one subscription is owed, in order. */
export class Owed {
  readonly #deps: OwedDeps;
  #queue: Debt[];
  /** How many from the front are under way. */
  #underWay = 0;
  #send: ((debt: Debt, got: () => void) => void) | undefined;

  constructor(deps: OwedDeps, queue: Debt[] = []) {
    this.#deps = deps;
    this.#queue = queue;
  }

  add(debt: Debt): void {
    this.#queue.push(debt);
    this.#pump();
    this.#shed();
  }

  /**
   * Messages go out through `send` from now on, those under way through an earlier one again. It calls `got` where the client
   * has the message, or it was given up.
   */
  open(send: (debt: Debt, got: () => void) => void): void {
    this.close();
    this.#send = send;
    this.#pump();
  }

  /** Nothing goes out until it is opened again. */
  close(): void {
    this.#send = undefined;
    this.#underWay = 0;
  }

  /** Takes everything out, for another. */
  take(): Debt[] {
    this.close();
    const queue = this.#queue;
    this.#queue = [];
    return queue;
  }

  /** Puts back what was taken out. */
  put(queue: readonly Debt[]): void {
    this.#queue.unshift(...queue);
  }

  /** Nobody is owed it any more. */
  clear(reason?: DropReason): void {
    for (const debt of this.take()) {
      this.#deps.debts.settle(debt);
      if (reason !== undefined) this.#deps.dropped(reason);
    }
  }

  /** The oldest that waits gives way at a bound. */
  #shed(): void {
    const { debts, maxMessages } = this.#deps;
    while (this.#queue.length - this.#underWay > 0 && (this.#queue.length > maxMessages || debts.full)) {
      const [debt] = this.#queue.splice(this.#underWay, 1);
      if (debt !== undefined) debts.settle(debt);
      this.#deps.dropped('queue_full');
    }
  }

  #pump(): void {
    while (this.#send !== undefined && this.#underWay < window) {
      const debt = this.#queue[this.#underWay];
      if (debt === undefined) return;
      if (debt.until < this.#deps.now()) {
        this.#queue.splice(this.#underWay, 1);
        this.#deps.debts.settle(debt);
        this.#deps.dropped('expired');
        continue;
      }
      this.#underWay += 1;
      this.#send(debt, () => this.#got(debt));
    }
  }

  #got(debt: Debt): void {
    const at = this.#queue.indexOf(debt);
    // told of an earlier way, and of the one now
    if (at === -1) return;
    this.#queue.splice(at, 1);
    if (at < this.#underWay) this.#underWay -= 1;
    this.#deps.debts.settle(debt);
    this.#pump();
  }
}
