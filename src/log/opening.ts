import { HoldfastError } from '../base/index.ts';
import { formatMessageId, maxBoot } from '../domain/index.ts';
import { bootKey, format, formatKey } from './keys.ts';
import { damaged, type LogDeps } from './options.ts';
import { type Recovered, recover } from './recovery.ts';
import type { StoreOpening } from './store.ts';

/** Opens the store, finds what it holds, and takes a boot number that no id has had: on the disk before it is used. */
export async function openLog(
  deps: Pick<LogDeps, 'store' | 'bootFile' | 'logger' | 'health'>,
): Promise<Recovered & { readonly how: StoreOpening['how'] }> {
  const { store, bootFile, logger, health } = deps;
  const opening = await store.open();
  if (opening.how === 'repaired' || opening.how === 'moved_aside') {
    health.raise(damaged, opening.how === 'repaired' ? 'repaired' : `the old one is at ${opening.to}`);
    logger.error(
      opening,
      opening.how === 'repaired' ? 'the store was damaged and repaired' : 'the store was moved aside',
    );
  }
  const found = await recover(store);
  for (const first of found.damaged) {
    health.raise(damaged, `a chunk at ${formatMessageId(first)} cannot be read`);
    logger.error({ id: formatMessageId(first) }, 'a chunk is damaged and its records are lost');
  }
  const newest = Math.max(await bootFile.read(), found.boot);
  if (newest >= maxBoot) throw new HoldfastError('start_failed', 'the boot numbers are used up');
  const boot = newest + 1;
  await bootFile.write(boot);
  const number = Buffer.allocUnsafe(4);
  number.writeUInt32LE(boot, 0);
  await store.write(
    [
      { type: 'put', key: bootKey, value: number },
      { type: 'put', key: formatKey, value: Buffer.from(`${format}`) },
    ],
    true,
  );
  return { ...found, boot, how: opening.how };
}
