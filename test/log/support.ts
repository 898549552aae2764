import type { ClockQuality, Message, StoredMessage } from '../../src/domain/index.ts';
import { type DiskSpace, Log, type LogOptions, type NumberFile, type Store } from '../../src/log/index.ts';
import { Health, type Logger, Metrics, silentLogger } from '../../src/telemetry/index.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeDisk } from '../support/fake-disk.ts';
import { MemoryNumberFile } from '../support/memory-store.ts';

export const defaults: LogOptions = {
  commitGap: 0,
  commitDelay: 100,
  lazyDelay: 500,
  history: { maxBytes: 64 * 1024 * 1024, maxAge: 30 * 86_400_000, maxRecords: 1_000_000_000 },
  maxPendingBytes: 4 * 1024 * 1024,
  recentBytes: 1024 * 1024,
};

export interface Bench {
  readonly log: Log;
  readonly clock: FakeClock;
  readonly health: Health;
  readonly metrics: Metrics;
}

export function makeLog(
  store: Store,
  given: {
    clock?: FakeClock;
    bootFile?: NumberFile;
    space?: DiskSpace;
    quality?: () => ClockQuality;
    options?: Partial<LogOptions>;
    logger?: Logger;
  } = {},
): Bench {
  const clock = given.clock ?? new FakeClock();
  const health = new Health(clock);
  const metrics = new Metrics();
  const log = new Log({
    store,
    bootFile: given.bootFile ?? new MemoryNumberFile(),
    space: given.space ?? new FakeDisk(),
    clock,
    quality: given.quality ?? (() => 'synced'),
    logger: given.logger ?? silentLogger,
    metrics,
    health,
    options: { ...defaults, ...given.options },
  });
  return { log, clock, health, metrics };
}

export function message(payload: string | Uint8Array, topic = 'a/b', changes: Partial<Message> = {}): Message {
  return {
    topic,
    payload: typeof payload === 'string' ? Buffer.from(payload) : payload,
    qos: 1,
    retain: false,
    expiry: 0,
    origin: 'coap',
    upstream: '',
    clientId: '',
    username: '',
    connection: 0n,
    ...changes,
  };
}

/** Lets promises settle, and the timers that are due now fire, until nothing more happens. */
export async function settle(clock: FakeClock, rounds = 20): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    clock.advance(0);
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

/** Everything from `from` on, over as many pages as it takes. */
export async function readAll(log: Log, from: bigint): Promise<{ messages: StoredMessage[]; lost: number }> {
  const messages: StoredMessage[] = [];
  let lost = 0;
  for (let at = from; ; ) {
    const page = await log.read(at, { records: 100, bytes: 64 * 1024 });
    messages.push(...page.messages);
    lost += page.lost;
    if (page.next === at) return { messages, lost };
    at = page.next;
  }
}
