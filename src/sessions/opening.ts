import { HoldfastError } from '../base/index.ts';
import { newestOf, openWhole, type Store, type StoreOpening } from '../log/index.ts';
import { latest, prefix, seal, unseal } from './codec.ts';

const formatKey = Buffer.from(prefix.format);
const all = { gte: Buffer.from([0]), lt: Buffer.from([0xff]) };

/**
 * Opens the store, so that all of it reads: what does not is repaired, and moved aside where that does not help.
 * @returns what was done, and the format of what is there.
 * @throws HoldfastError `later_format` where a later version wrote it; `start_failed` where another process has it open.
 */
export async function openStore(store: Store): Promise<{ readonly opening: StoreOpening; readonly format: number }> {
  const { opening, found } = await openWhole(store, async () => {
    const format = await formatOf(store);
    for await (const _entry of store.entries(all));
    return format;
  });
  return { opening, format: found };
}

/** Says in the store which format all of it is in. */
export async function noteFormat(store: Store): Promise<void> {
  const value = seal(formatKey, Buffer.from(`${latest}`));
  await store.write([{ type: 'put', key: formatKey, value }], true);
}

async function formatOf(store: Store): Promise<number> {
  const sealed = await newestOf(store, formatKey);
  // one that is damaged is no reason to refuse
  const text = sealed === undefined ? '' : (unseal(formatKey, sealed)?.toString('latin1') ?? '');
  const format = /^\d{1,9}$/.test(text) ? Number(text) : 1;
  if (format <= latest) return format;
  throw new HoldfastError(
    'later_format',
    `the store of MQTT sessions (sessions/ in the state directory) is in format ${format}, and this version of holdfast knows format ${latest} at most: it was written by a later version, so install that one again; nothing was changed`,
  );
}
