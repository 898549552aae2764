import { readFile } from 'node:fs/promises';
import { replaceFile } from '../base/index.ts';

/** A small number that survives everything but the loss of its file: where the boot number is kept beside the store. */
export interface NumberFile {
  /** The number, or 0 where there is none or it does not parse. */
  read(): Promise<number>;
  /** Resolved once it is on the disk. */
  write(value: number): Promise<void>;
}

/** Replaced as a whole and fsynced, the directory too. */
export class AtomicNumberFile implements NumberFile {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  async read(): Promise<number> {
    try {
      const text = (await readFile(this.#path, 'utf8')).trim();
      return /^\d{1,8}$/.test(text) ? Number(text) : 0;
    } catch {
      return 0;
    }
  }

  write(value: number): Promise<void> {
    return replaceFile(this.#path, `${value}\n`);
  }
}
