import { existsSync } from 'node:fs';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { reasonOf } from '../base/index.ts';
import type { Logger } from '../telemetry/index.ts';

/**
 * What was damaged is kept for somebody to look at, as `<store>.corrupt-N` beside the store: the newest have the highest
 * numbers, and older ones give way.
 */
const pattern = /^(.+)\.corrupt-(\d+)$/;

/** Moves `damaged` to where copies of the store at `directory` are kept, `keep` of them at most; gives its new path. */
export async function setAside(damaged: string, directory: string, keep: number, logger: Logger): Promise<string> {
  const kept = await copiesOf(directory);
  const to = `${directory}.corrupt-${(kept.at(-1)?.number ?? 0) + 1}`;
  await rename(damaged, to);
  const over = Math.max(0, kept.length + 1 - keep);
  for (const { path } of kept.slice(0, over))
    await remove(path, logger, 'an older damaged copy of a store was deleted');
  return to;
}

/** Deletes every copy that is kept in `directory`: there is no room for them. */
export async function removeCopies(directory: string, logger: Logger): Promise<void> {
  for (const name of await readdir(directory).catch(() => [])) {
    if (!pattern.test(name)) continue;
    await remove(join(directory, name), logger, 'a damaged copy of a store was deleted to make room');
  }
}

async function copiesOf(directory: string): Promise<{ readonly path: string; readonly number: number }[]> {
  const beside = dirname(directory);
  const copies: { path: string; number: number }[] = [];
  for (const name of existsSync(beside) ? await readdir(beside) : []) {
    const [, store, number] = pattern.exec(name) ?? [];
    if (store === basename(directory)) copies.push({ path: join(beside, name), number: Number(number) });
  }
  return copies.sort((a, b) => a.number - b.number);
}

async function remove(path: string, logger: Logger, text: string): Promise<void> {
  const bytes = await sizeOf(path);
  try {
    await rm(path, { recursive: true, force: true });
    logger.warn({ path, bytes }, text);
  } catch (thrown) {
    logger.warn({ path, bytes, reason: reasonOf(thrown) }, 'a damaged copy of a store cannot be deleted');
  }
}

/** Bytes of the files at and below `path`. */
async function sizeOf(path: string): Promise<number> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory() !== true) return found?.size ?? 0;
  let bytes = 0;
  for (const name of await readdir(path).catch(() => [])) bytes += await sizeOf(join(path, name));
  return bytes;
}
