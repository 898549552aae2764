import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeClock } from '../support/fake-clock.ts';
import { MemoryNumberFile, MemoryStore } from '../support/memory-store.ts';
import { type Bench, makeLog, message, readAll, settle } from './support.ts';

/**
 * The log and two upstreams against a list in memory. Random actions, power cuts and failing disks among them; after each
 * the promise is demanded: what was acknowledged is there, in the order of its ids, once, whole, or every upstream that
 * wanted it has it.
 */
type Action =
  | { readonly kind: 'append'; readonly count: number; readonly size: number }
  | { readonly kind: 'settle' }
  | { readonly kind: 'cut'; readonly lose: number }
  | { readonly kind: 'stop' }
  | { readonly kind: 'break' }
  | { readonly kind: 'acknowledge'; readonly share: number }
  | { readonly kind: 'upstreams'; readonly answers: readonly Answer[] }
  | { readonly kind: 'deliver'; readonly picks: readonly number[] }
  | { readonly kind: 'tick'; readonly ms: number };

type Answer = 'no' | 'now' | 'later';

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      count: fc.integer({ min: 1, max: 12 }),
      size: fc.oneof({ weight: 4, arbitrary: fc.constant(20) }, fc.integer({ min: 0, max: 60_000 })),
    }),
  },
  { weight: 4, arbitrary: fc.constant({ kind: 'settle' as const }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('cut' as const), lose: fc.integer({ min: 0, max: 20 }) }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'stop' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'break' as const }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('acknowledge' as const),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('upstreams' as const),
      answers: fc.array(fc.constantFrom<Answer>('no', 'now', 'now', 'now', 'now', 'later'), {
        minLength: 2,
        maxLength: 2,
      }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('deliver' as const),
      picks: fc.array(fc.nat(), { minLength: 1, maxLength: 12 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('tick' as const),
      ms: fc.oneof(fc.constant(300), fc.integer({ min: 1, max: 5_000 })),
    }),
  },
);

/** The delays are such that messages of either kind are at hand when what was delivered is written. */
const options = { recentBytes: 4_096, commitDelay: 1_000, lazyDelay: 500 };

class Model {
  readonly clock = new FakeClock();
  readonly bootFile = new MemoryNumberFile();
  store = new MemoryStore();
  bench: Bench = makeLog(this.store, { clock: this.clock, bootFile: this.bootFile, options });
  /** id → payload of every acknowledged message. */
  readonly acknowledged = new Map<bigint, string>();
  readonly handedOut = new Set<bigint>();
  answers: readonly Answer[] = ['now', 'now'];
  /** Messages that wait for an upstream's acknowledgement: id → upstreams that have not given it; and those that all have. */
  outstanding = new Map<bigint, Set<number>>();
  readonly delivered = new Set<bigint>();
  #serial = 0;

  async run(actions: readonly Action[]): Promise<void> {
    await this.#begin();
    for (const one of actions) {
      await this.#do(one);
      await this.check();
    }
    await this.bench.log.stop();
  }

  async #begin(): Promise<void> {
    await this.bench.log.start();
    this.bench.log.holdFor('cloud', { maxBytes: 1e9, maxRecords: 1e9, overflow: 'drop_oldest' });
    this.outstanding = new Map();
    for (const upstream of [0, 1]) {
      this.bench.log.deliverThrough({
        takes: (_message, id) => {
          const answer = this.answers[upstream] ?? 'no';
          const waiting = this.outstanding.get(id) ?? new Set();
          if (answer !== 'no') this.outstanding.set(id, waiting.add(answer === 'now' ? upstream : -1));
          return answer;
        },
      });
    }
  }

  async #reopen(store: MemoryStore): Promise<void> {
    this.store = store;
    this.bench = makeLog(store, { clock: this.clock, bootFile: this.bootFile, options });
    await this.#begin();
  }

  async #do(one: Action): Promise<void> {
    const { log } = this.bench;
    switch (one.kind) {
      case 'append':
        for (let n = 0; n < one.count; n++) this.#append(one.size);
        return;
      case 'settle':
        return settle(this.clock, 4);
      case 'cut': {
        const survivor = this.store.afterPowerCut(one.lose);
        this.store.broken = true;
        await settle(this.clock, 4);
        this.store.unopenable = true;
        await log.stop();
        return this.#reopen(survivor);
      }
      case 'stop':
        await log.stop();
        return this.#reopen(this.store);
      case 'break':
        this.store.broken = true;
        return settle(this.clock, 4);
      case 'acknowledge': {
        const from = log.cursor('cloud') ?? log.head;
        const page = await log.read(from, { records: 50, bytes: 1e6 });
        const upTo = page.messages[Math.floor(page.messages.length * one.share) - 1];
        if (upTo !== undefined) log.moveCursor('cloud', upTo.id + 1n);
        return;
      }
      case 'upstreams':
        this.answers = one.answers;
        return;
      case 'deliver':
        for (const pick of one.picks) this.#deliver(pick);
        return;
      case 'tick':
        this.clock.advance(one.ms);
        return settle(this.clock, 4);
    }
  }

  /** One upstream acknowledges one of the messages that it took. */
  #deliver(pick: number): void {
    const open = [...this.outstanding].flatMap(([id, left]) => [...left].map((upstream) => ({ id, left, upstream })));
    const chosen = open[pick % Math.max(1, open.length)];
    // -1: one who has to wait, and acknowledges what it reads from the disk alone
    if (chosen === undefined || chosen.upstream === -1) return;
    chosen.left.delete(chosen.upstream);
    if (chosen.left.size === 0) this.delivered.add(chosen.id);
    this.bench.log.delivered(chosen.id);
  }

  #append(size: number): void {
    const payload = `${this.#serial++}`.padEnd(size, '.');
    try {
      const id = this.bench.log.append(message(payload), (error) => {
        if (error === undefined) this.acknowledged.set(id, payload);
      });
      expect(this.handedOut.has(id)).toBe(false);
      this.handedOut.add(id);
    } catch (thrown) {
      expect(String(thrown)).toMatch(/cannot be written|not open|waits for the disk/);
    }
  }

  async check(): Promise<void> {
    const { log } = this.bench;
    if (!log.writable) return;
    // the history's bounds are far away: nothing is ever deleted
    const { messages } = await readAll(log, 0n);
    const found = messages.map((one) => one.id);
    expect(found).toEqual([...found].sort((a, b) => (a < b ? -1 : 1)));
    expect(new Set(found).size).toBe(found.length);
    const present = new Map(messages.map((one) => [one.id, String(one.payload)]));
    for (const [id, payload] of this.acknowledged) {
      if (id >= log.next || (this.delivered.has(id) && !present.has(id))) continue;
      expect(present.get(id)).toBe(payload);
    }
  }
}

describe('the log, by its model', () => {
  it('keeps every acknowledged message over power cuts, failing disks and restarts', { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 10, maxLength: 60 }), async (actions) => {
        await new Model().run(actions);
      }),
      { numRuns: Number(process.env.MODEL_RUNS ?? 300), seed: 20_260_101 },
    );
  });
});
