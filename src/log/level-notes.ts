import { readFile, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * LevelDB notes what it does in a diary that it never shortens; it appends, so that the file may be emptied under it: done
 * above `most` bytes. Its list of tables grows with each of them, too, until the directory is opened again.
 * @returns whether that list is longer than `most`.
 */
export async function trimNotes(directory: string, most: number): Promise<boolean> {
  const bytesOf = async (path: string) => (await stat(path).catch(() => ({ size: 0 }))).size;
  const diary = join(directory, 'LOG');
  if ((await bytesOf(diary)) > most) await truncate(diary).catch(() => undefined);
  const list = await readFile(join(directory, 'CURRENT'), 'latin1').catch(() => '');
  return /^MANIFEST-\d+\n$/.test(list) && (await bytesOf(join(directory, list.trim()))) > most;
}
