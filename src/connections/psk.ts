import { randomBytes } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HoldfastError, reasonOf, replaceFile } from '../base/index.ts';
import { checkIdentity, formatPsks, parsePsks, readKey } from './psk-text.ts';

/** Bytes of a key that is made up. */
const generated = 16;

/**
 * `psk.toml` (0600): the pre-shared keys of devices, by identity. A key is there as it is, since both ends need it; it is
 * read once and again when told.
 */
export class PskFile {
  readonly #path: string;
  #keys = new Map<string, Buffer>();
  #changes: Promise<unknown> = Promise.resolve();

  constructor(path: string) {
    this.#path = path;
  }

  get size(): number {
    return this.#keys.size;
  }

  keyOf(identity: string): Buffer | undefined {
    return this.#keys.get(identity);
  }

  /**
   * Reads the file; one that is not there has no keys.
   * @returns the identities whose former key holds no more.
   * @throws HoldfastError `bad_configuration` where it cannot be read; what was read before goes on to hold.
   */
  async load(): Promise<ReadonlySet<string>> {
    const former = this.#keys;
    const fresh = await this.#read();
    this.#keys = fresh;
    const gone = new Set<string>();
    for (const [identity, key] of former) {
      if (fresh.get(identity)?.equals(key) !== true) gone.add(identity);
      key.fill(0);
    }
    return gone;
  }

  /** Identities, in order. */
  async list(): Promise<readonly string[]> {
    return [...(await this.#read()).keys()].sort();
  }

  /**
   * @param hex the key in hexadecimal; undefined: one is made up.
   * @returns the key in hexadecimal.
   * @throws HoldfastError `bad_request` for a bad identity or key, or one that is there.
   */
  async add(identity: string, hex?: string): Promise<string> {
    checkIdentity(identity);
    const key = hex === undefined ? randomBytes(generated) : readKey(hex);
    await this.#change((keys) => {
      if (keys.has(identity)) throw new HoldfastError('bad_request', `identity ${identity} is there already`);
      keys.set(identity, key);
    });
    return key.toString('hex');
  }

  /** @throws HoldfastError `bad_request` for one that is not there. */
  remove(identity: string): Promise<void> {
    return this.#change((keys) => {
      if (!keys.delete(identity)) throw new HoldfastError('bad_request', `no identity ${JSON.stringify(identity)}`);
    });
  }

  /** One change after the other, each on the file as it is then. What this process holds is read by `load` alone. */
  #change(apply: (keys: Map<string, Buffer>) => void): Promise<void> {
    const change = this.#changes.then(async () => {
      const keys = await this.#read();
      apply(keys);
      await replaceFile(this.#path, formatPsks(keys), {
        prepare: async (file) => {
          if (process.getuid?.() !== 0) return;
          // `sudo holdfast psk add` must not take the file from the daemon
          const { uid, gid } = await stat(this.#path).catch(() => stat(dirname(this.#path)));
          await file.chown(uid, gid);
        },
      });
    });
    this.#changes = change.catch(() => undefined);
    return change;
  }

  async #read(): Promise<Map<string, Buffer>> {
    let text: string;
    try {
      text = await readFile(this.#path, 'utf8');
    } catch (thrown) {
      if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return new Map();
      throw new HoldfastError('bad_configuration', `cannot read ${this.#path}: ${reasonOf(thrown)}`, { cause: thrown });
    }
    return parsePsks(text, this.#path);
  }
}
