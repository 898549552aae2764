import { HoldfastError, reasonOf } from '../base/index.ts';
import { type Distrust, isDisk, type Store, type StoreOpening } from './store.ts';

/**
 * Opens a store so that `read` gets through it: what opens and does not read is repaired, and moved aside where that does
 * not help. It is closed where it fails.
 * @throws what `read` throws as a HoldfastError, or `store.open`, or what comes of a disk that fails.
 */
export async function openWhole<Found>(
  store: Store,
  read: (opening: StoreOpening) => Promise<Found>,
  distrust?: Distrust,
): Promise<{ readonly opening: StoreOpening; readonly found: Found }> {
  let opening = await store.open(distrust);
  for (let attempt = 0; ; attempt++) {
    try {
      return { opening, found: await read(opening) };
    } catch (thrown) {
      const reason = reasonOf(thrown);
      const final = thrown instanceof HoldfastError || isDisk(reason) || opening.how === 'moved_aside' || attempt > 1;
      await store.close().catch(() => undefined);
      if (final) throw thrown;
      opening = await store.open({ reason, beyondRepair: opening.how === 'repaired' });
    }
  }
}
