import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

export interface AtomicFileOptions {
  /** Called with the new file before it takes the place of the old one, e.g. to give it another owner. */
  readonly prepare?: (file: FileHandle) => Promise<void>;
}

/**
 * Replaces a file as a whole, mode 0600: the old text or the new one is there, whenever the power goes, and once this is
 * resolved the new one is. Makes the directory where there is none.
 */
export async function replaceFile(path: string, text: string, { prepare }: AtomicFileOptions = {}): Promise<void> {
  await makeDirectory(dirname(path), 0o700);
  const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(text);
      await prepare?.(file);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (thrown) {
    await rm(temporary, { force: true });
    throw thrown;
  }
  await syncDirectory(dirname(path));
}

/** Makes a directory and those above it where there are none; what was made is on the disk once this is resolved. */
export async function makeDirectory(path: string, mode: number): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode });
  if (first === undefined) return;
  // each has its name in the one above
  const last = dirname(resolve(first));
  for (let at = dirname(resolve(path)); ; at = dirname(at)) {
    await syncDirectory(at);
    if (at === last || at === dirname(at)) return;
  }
}

/** Resolved once the names in a directory are on the disk as they are now. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
