import { randomBytes } from 'node:crypto';
import { HoldfastError } from '../base/index.ts';
import { ManagedFile } from './managed-file.ts';
import { checkIdentity, formatPsks, parsePsks, readKey } from './psk-text.ts';

/** Bytes of a key that is made up. */
const generated = 16;

/**
 * `psk.toml` (0600): the pre-shared keys of devices, by identity. A key is there as it is, since both ends need it; it is
 * read once and again when told.
 */
export class PskFile {
  readonly #file: ManagedFile<Buffer>;
  #keys = new Map<string, Buffer>();

  constructor(path: string) {
    this.#file = new ManagedFile(path, parsePsks, formatPsks);
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
    const fresh = await this.#file.read();
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
    return [...(await this.#file.read()).keys()].sort();
  }

  /**
   * @param hex the key in hexadecimal; undefined: one is made up.
   * @returns the key in hexadecimal.
   * @throws HoldfastError `bad_request` for a bad identity or key, or one that is there.
   */
  async add(identity: string, hex?: string): Promise<string> {
    checkIdentity(identity);
    const key = hex === undefined ? randomBytes(generated) : readKey(hex);
    await this.#file.change((keys) => {
      if (keys.has(identity)) throw new HoldfastError('bad_request', `identity ${identity} is there already`);
      keys.set(identity, key);
    });
    return key.toString('hex');
  }

  /** @throws HoldfastError `bad_request` for one that is not there. */
  async remove(identity: string): Promise<void> {
    await this.#file.change((keys) => {
      if (!keys.delete(identity)) throw new HoldfastError('bad_request', `no identity ${JSON.stringify(identity)}`);
    });
  }
}
