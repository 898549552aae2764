import { HoldfastError } from '../base/index.ts';
import { formatMessageId, maxBoot } from '../domain/index.ts';
import { bootKey, format, formatAgainKey, formatKey } from './keys.ts';
import { noteWrite } from './notes.ts';
import { openWhole } from './open-whole.ts';
import { damaged, type LogDeps } from './options.ts';
import { type Recovered, recover } from './recovery.ts';
import type { Loss } from './segments.ts';
import { asideOf, isDamage, type StoreOpening } from './store.ts';

/** Losses that are named one by one. */
const maxNamed = 8;

export interface Opened extends Recovered {
  readonly how: StoreOpening['how'];
  /** Where a reader begins whose place is not known; undefined where nothing can have happened to its place. */
  readonly fallback: bigint | undefined;
}

/** Whether to try again would change nothing. */
export function isFinal(thrown: unknown): boolean {
  return thrown instanceof HoldfastError && (thrown.code === 'start_failed' || thrown.code === 'later_format');
}

/**
 * Opens the store, finds what it holds, says what it lost, and takes a boot number that no id has had: on the disk before
 * it is used. Where it was open before: `failure`, why it is opened anew; `committed`, the id behind the last message that
 * was written, else 0.
 * @throws HoldfastError `start_failed`, `later_format`.
 */
export async function openLog(
  deps: Pick<LogDeps, 'store' | 'bootFile' | 'logger' | 'health'>,
  failure?: HoldfastError,
  committed = 0n,
): Promise<Opened> {
  const { store, bootFile } = deps;
  const noted = await bootFile.read();
  const ended = (await bootFile.readEnd?.()) ?? (committed === 0n ? undefined : committed);
  const mistrusted = failure !== undefined && isDamage(failure.message);
  const { opening, found } = await openWhole(
    store,
    ({ how }) => recover(store, { thorough: how === 'repaired', ended }),
    mistrusted ? { reason: failure.message, beyondRepair: false } : undefined,
  );
  const lossy = tell(deps, opening, found, noted > 1 && found.boot === 0);
  const newest = Math.max(noted, found.boot);
  if (newest >= maxBoot) throw new HoldfastError('start_failed', 'the boot numbers are used up');
  const boot = newest + 1;
  await bootFile.write(boot);
  const number = Buffer.allocUnsafe(4);
  number.writeUInt32LE(boot, 0);
  const text = Buffer.from(`${format}`);
  await store.write(
    [
      noteWrite(bootKey, number),
      { type: 'put', key: formatKey, value: text },
      { type: 'put', key: formatAgainKey, value: text },
    ],
    true,
  );
  return { ...found, boot, how: opening.how, fallback: lossy ? oldestOf(found) : undefined };
}

/** The oldest message that is there, or was. */
function oldestOf({ segments }: Recovered): bigint {
  const head = segments.head ?? 0n;
  const [loss] = segments.losses;
  return loss !== undefined && loss.from < head ? loss.from : head;
}

/** @returns whether anything may have been lost. */
function tell(
  { logger, health }: Pick<LogDeps, 'logger' | 'health'>,
  opening: StoreOpening,
  found: Recovered,
  vanished: boolean,
): boolean {
  const details: string[] = [];
  const say = (detail: string, fields: object, text: string): void => {
    details.push(detail);
    logger.error(fields, text);
  };
  if (opening.how === 'repaired') {
    say(asideOf(opening), opening, 'the store was damaged and repaired');
  } else if (opening.how === 'moved_aside') {
    say(asideOf(opening), opening, 'the store was moved aside');
  } else if (opening.passedOver !== undefined) {
    say(opening.passedOver, opening, 'a part of the store does not read and is lost');
  } else if (vanished) {
    say('it was empty', opening, 'the store was used before and is empty');
  }
  if (found.notes > 0) say(`${found.notes} notes do not read`, { notes: found.notes }, 'notes of the log are damaged');
  for (const first of found.damaged) {
    const id = formatMessageId(first);
    say(`a chunk at ${id} cannot be read`, { id }, 'a chunk is damaged and its records are lost');
  }
  if (found.lost.length > 0) {
    const count = found.lost.reduce((sum, { from, to }) => sum + Number(to - from), 0);
    const spans = found.lost.slice(0, maxNamed).map(nameOf);
    const more = found.lost.length > maxNamed ? ['…'] : [];
    say(
      `${count} messages are lost: ${[...spans, ...more].join(', ')}`,
      { lost: count, spans, of: found.lost.length },
      'messages are lost',
    );
  }
  if (details.length > 0) health.raise(damaged, details.join('; '));
  return details.length > 0;
}

function nameOf({ from, to }: Loss): string {
  return to - from === 1n ? formatMessageId(from) : `${formatMessageId(from)} to ${formatMessageId(to - 1n)}`;
}
