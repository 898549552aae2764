import { type FileHandle, open, readFile, rename } from 'node:fs/promises';
import { HoldfastError, reasonOf, replaceFile } from '../base/index.ts';
import type { Logger } from '../telemetry/index.ts';

interface Waiting {
  readonly line: string;
  readonly resolve: () => void;
  readonly reject: (error: HoldfastError) => void;
}

/**
 * A file of lines (0600) that grows at its end: a line is on disk when its `append` is resolved. While one fsync runs,
 * what is appended gathers for the next. Replaced as a whole where its owner says that most of it is dead.
 */
export class TokenFile {
  readonly #path: string;
  readonly #logger: Logger;
  /** The lines that still count, those that wait included, where the file is to be written anew; undefined: not now. */
  readonly #fresh: () => readonly string[] | undefined;
  #file: FileHandle | undefined;
  #waiting: Waiting[] = [];
  #work: Promise<void> | undefined;
  /** A line may have been cut off at the end. */
  #torn = false;

  constructor(path: string, logger: Logger, fresh: () => readonly string[] | undefined) {
    this.#path = path;
    this.#logger = logger;
    this.#fresh = fresh;
  }

  /** The lines that are there. A file that cannot be read is moved aside, and said so. */
  async load(): Promise<readonly string[]> {
    try {
      const text = await readFile(this.#path, 'utf8');
      this.#torn = text !== '' && !text.endsWith('\n');
      return text.split('\n').filter((line) => line !== '');
    } catch (thrown) {
      if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return [];
      const aside = `${this.#path}.corrupt`;
      await rename(this.#path, aside).catch(() => undefined);
      this.#logger.error(
        { path: this.#path, aside, reason: reasonOf(thrown) },
        'the tokens cannot be read: all are void',
      );
      return [];
    }
  }

  /** @throws HoldfastError `store_failed`: the line may be there or not. */
  append(line: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ line, resolve, reject });
      this.#work ??= this.#run();
    });
  }

  /** After what was appended. */
  async close(): Promise<void> {
    await this.#work;
    await this.#file?.close().catch(() => undefined);
    this.#file = undefined;
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        // written anew, the file has what waits too
        const lines = this.#fresh();
        if (lines === undefined || !(await this.#renew(lines))) {
          await this.#write(batch.map(({ line }) => `${line}\n`).join(''));
        }
        for (const { resolve } of batch) resolve();
      } catch (thrown) {
        const error = new HoldfastError('store_failed', `cannot write ${this.#path}: ${reasonOf(thrown)}`, {
          cause: thrown,
        });
        for (const { reject } of batch) reject(error);
        await this.#reopen();
      }
    }
    this.#work = undefined;
  }

  async #write(text: string): Promise<void> {
    if (this.#file === undefined) {
      this.#file = await open(this.#path, 'a', 0o600).catch(() => undefined);
      // made through a replacement, so that its name is on disk too
      if (this.#file === undefined || (await this.#file.stat()).size === 0) {
        await this.#file?.close();
        await replaceFile(this.#path, '');
        this.#file = await open(this.#path, 'a', 0o600);
      }
    }
    const whole = this.#torn ? `\n${text}` : text;
    this.#torn = true;
    await this.#file.appendFile(whole);
    await this.#file.datasync();
    this.#torn = false;
  }

  async #renew(lines: readonly string[]): Promise<boolean> {
    try {
      await replaceFile(this.#path, lines.map((line) => `${line}\n`).join(''));
    } catch (thrown) {
      this.#logger.warn({ reason: reasonOf(thrown) }, 'the tokens could not be written anew');
      return false;
    }
    this.#torn = false;
    await this.#reopen();
    return true;
  }

  async #reopen(): Promise<void> {
    await this.#file?.close().catch(() => undefined);
    this.#file = undefined;
  }
}
