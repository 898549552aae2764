import { join } from 'node:path';
import { type Clock, systemClock } from '../../../src/base/index.ts';
import { AtomicNumberFile, LevelStore, Log, type StoreOpening } from '../../../src/log/index.ts';
import { Health, Metrics, silentLogger } from '../../../src/telemetry/index.ts';
import { FakeDisk } from '../fake-disk.ts';

/** How much faster than it is time runs in the log, so that what is done once a second is done often. */
const faster = 20;

const clock: Clock = {
  wall: () => Date.now() + systemClock.monotonic() * (faster - 1),
  monotonic: () => systemClock.monotonic() * faster,
  after: (name, ms, run) => systemClock.after(name, ms / faster, run),
  every: (name, ms, run) => systemClock.every(name, ms / faster, run),
  soon: systemClock.soon,
};

/** Keeps what was said as it was opened. */
class TellingStore extends LevelStore {
  opening: StoreOpening | undefined;

  override async open(): Promise<StoreOpening> {
    this.opening = await super.open();
    return this.opening;
  }
}

/** A reader that must lose nothing. */
export const upstream = 'cloud';

/**
 * A log on a real LevelDB in a state directory, which it makes, with a small history.
 * `buffer`: bytes that LevelDB gathers before it begins a new journal.
 */
export function logAt(directory: string, buffer: number) {
  const store = new TellingStore(join(directory, 'log'), { writeBufferSize: buffer });
  const space = new FakeDisk();
  const log = new Log({
    store,
    bootFile: new AtomicNumberFile(join(directory, 'boot')),
    space,
    clock,
    quality: () => 'synced',
    logger: silentLogger,
    metrics: new Metrics(),
    health: new Health(clock),
    options: {
      commitGap: 0,
      commitDelay: 100,
      lazyDelay: 500,
      history: { maxBytes: 1 << 20, maxAge: 30 * 86_400_000, maxRecords: 1_000_000 },
      maxPendingBytes: 4 << 20,
      recentBytes: 64 << 10,
    },
  });
  const start = async () => {
    await log.start();
    log.holdFor(upstream, { maxBytes: 1 << 30, maxRecords: 1_000_000, overflow: 'reject' });
  };
  return { log, store, clock, space, start };
}
