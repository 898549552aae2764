import { readFile } from 'node:fs/promises';
import { replaceFile } from '../base/index.ts';
import { bootOf, formatMessageId, maxBoot, parseMessageId } from '../domain/index.ts';

/** A small number that survives everything but the loss of its file: where the boot number is kept beside the store. */
export interface NumberFile {
  /** The number, or 0 where there is none or it does not parse. */
  read(): Promise<number>;
  /** Resolved once it is on the disk. */
  write(value: number): Promise<void>;
  /** Notes the id behind the last one that a boot used, at its orderly end; until the next `write`. */
  writeEnd?(end: bigint): Promise<void>;
  readEnd?(): Promise<bigint | undefined>;
}

/** Replaced as a whole and fsynced, the directory too. */
export class AtomicNumberFile implements NumberFile {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  async read(): Promise<number> {
    try {
      const [text = ''] = (await readFile(this.#path, 'utf8')).split('\n');
      return /^\d{1,8}$/.test(text) && Number(text) <= maxBoot ? Number(text) : 0;
    } catch {
      return 0;
    }
  }

  write(value: number): Promise<void> {
    return replaceFile(this.#path, `${value}\n`);
  }
  async readEnd(): Promise<bigint | undefined> {
    const [, text = ''] = (await readFile(this.#path, 'utf8').catch(() => '')).split('\n');
    return parseMessageId(text);
  }

  writeEnd(end: bigint): Promise<void> {
    return replaceFile(this.#path, `${bootOf(end)}\n${formatMessageId(end)}\n`);
  }
}
