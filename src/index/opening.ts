import { HoldfastError, reasonOf } from '../base/index.ts';
import { formatMessageId } from '../domain/index.ts';
import { isDisk, type StoreOpening } from '../log/index.ts';
import { isBefore } from './follower.ts';
import { progressKey } from './keys.ts';
import type { IndexDeps } from './options.ts';
import { type Progress, readProgress } from './progress.ts';

type OpeningDeps = Pick<IndexDeps, 'store' | 'log' | 'discard'>;

export interface OpenedIndex {
  readonly opening: StoreOpening;
  readonly found: Progress | undefined;
  /** Why what is on the disk is not to be relied on; undefined where it is. */
  readonly reason: string | undefined;
}

/** Opens the store and says how far the index is. What opens and does not read is begun anew. */
export async function openIndex(deps: OpeningDeps): Promise<OpenedIndex> {
  const { opening, found } = await openStore(deps);
  return { opening, found, reason: await whyNot(deps, opening, found) };
}

async function openStore({ store, discard }: OpeningDeps): Promise<Omit<OpenedIndex, 'reason'>> {
  try {
    const opening = await store.open();
    return { opening, found: readProgress(await store.get(progressKey)) };
  } catch (thrown) {
    const reason = reasonOf(thrown);
    if (thrown instanceof HoldfastError || isDisk(reason) || discard === undefined) throw thrown;
    await store.close();
    await discard();
    await store.open();
    return { opening: { how: 'repaired', reason }, found: undefined };
  }
}

async function whyNot(
  { log }: OpeningDeps,
  opening: StoreOpening,
  found: Progress | undefined,
): Promise<string | undefined> {
  if (opening.how === 'repaired' || opening.how === 'moved_aside') return opening.how;
  if (found === undefined) return opening.how === 'created' ? undefined : 'no progress';
  if (found.message > log.next) return 'ahead of the log';
  const { lastMessage, lastRun } = found;
  if (lastMessage !== undefined && lastMessage >= log.head) {
    const { messages, next } = await log.read(lastMessage, { records: 1, bytes: 1 });
    // a log that is closed at the moment can tell nothing
    if (next <= lastMessage) return undefined;
    if (messages[0]?.id !== lastMessage) return `message ${formatMessageId(lastMessage)} is not in the log`;
  }
  if (lastRun !== undefined && !isBefore(lastRun, log.events.head) && (await log.events.at(lastRun)).length === 0) {
    return 'events are not in the log';
  }
  return undefined;
}
