import { type FileHandle, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HoldfastError, reasonOf, replaceFile } from '../base/index.ts';

/** A file (0600) of names and what belongs to them, which the command line and the daemon change. */
export class ManagedFile<Value> {
  readonly #path: string;
  readonly #parse: (text: string, path: string) => Map<string, Value>;
  readonly #format: (entries: ReadonlyMap<string, Value>) => string;
  #changes: Promise<unknown> = Promise.resolve();

  constructor(
    path: string,
    parse: (text: string, path: string) => Map<string, Value>,
    format: (entries: ReadonlyMap<string, Value>) => string,
  ) {
    this.#path = path;
    this.#parse = parse;
    this.#format = format;
  }

  /**
   * What it holds; one that is not there holds nothing.
   * @throws HoldfastError `bad_configuration` where it cannot be read.
   */
  async read(): Promise<Map<string, Value>> {
    let text: string;
    try {
      text = await readFile(this.#path, 'utf8');
    } catch (thrown) {
      if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return new Map();
      throw new HoldfastError('bad_configuration', `cannot read ${this.#path}: ${reasonOf(thrown)}`, { cause: thrown });
    }
    return this.#parse(text, this.#path);
  }

  /** One change after the other, each on the file as it is then; resolved with what it holds once that is on disk. */
  change(apply: (entries: Map<string, Value>) => void): Promise<Map<string, Value>> {
    const change = this.#changes.then(async () => {
      const entries = await this.read();
      apply(entries);
      await replaceFile(this.#path, this.#format(entries), { prepare: (file) => this.#giveAway(file) });
      return entries;
    });
    this.#changes = change.catch(() => undefined);
    return change;
  }

  /** `sudo holdfast …` must not take it from the daemon: it stays with its owner, a new one with its folder's. */
  async #giveAway(file: FileHandle): Promise<void> {
    if (process.getuid?.() !== 0) return;
    const { uid, gid } = await stat(this.#path).catch(() => stat(dirname(this.#path)));
    await file.chown(uid, gid);
  }
}
