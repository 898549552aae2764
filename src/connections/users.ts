import { createHash, createHmac, randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { HoldfastError } from '../base/index.ts';
import type { PasswordCheck } from './authenticator.ts';
import { ManagedFile } from './managed-file.ts';
import { checkUserName, formatHash, formatUsers, type PasswordHash, parseHash, parseUsers } from './users-text.ts';

const cacheSize = 10_000;
const concurrency = 2;
const maxWaiting = 1_000;
const maxPassword = 1_024;
/** Characters of a stamp, six bits each. */
const stampLength = 16;

/**
 * `users.toml` (0600): who has which password. Read once and again when told; a pair found right is remembered under a
 * keyed hash that holds the stored hash too, so that a changed or removed password is forgotten by itself.
 */
export class UsersFile implements PasswordCheck {
  readonly #file: ManagedFile<string>;
  readonly #cost: number;
  readonly #cacheKey = randomBytes(32);
  readonly #right = new Set<string>();
  readonly #pending = new Map<string, Promise<boolean>>();
  readonly #waiting: (() => void)[] = [];
  #busy = 0;
  #users = new Map<string, string>();

  /** `cost` is scrypt's N of new passwords: 16384 takes some 50 ms and 16 MiB. */
  constructor(path: string, options: { readonly cost?: number } = {}) {
    this.#file = new ManagedFile(path, parseUsers, formatUsers);
    this.#cost = options.cost ?? 16_384;
  }

  /**
   * Reads the file; one that is not there has no users.
   * @returns the names whose former password holds no more.
   * @throws HoldfastError `bad_configuration` where it cannot be read; what was read before goes on to hold.
   */
  async load(): Promise<ReadonlySet<string>> {
    const former = this.#users;
    this.#users = await this.#file.read();
    this.#right.clear();
    return new Set([...former].filter(([name, hash]) => this.#users.get(name) !== hash).map(([name]) => name));
  }

  has(name: string): boolean {
    return this.#users.has(name);
  }

  /** From the stored hash, of which the salt is another for each password. */
  stampOf(name: string): string {
    const hash = this.#users.get(name);
    return hash === undefined ? '' : createHash('sha256').update(hash).digest('base64url').slice(0, stampLength);
  }

  verifyCached(name: string, password: string): 'ok' | undefined {
    const hash = this.#users.get(name);
    if (hash === undefined || password.length > maxPassword) return undefined;
    return this.#right.has(this.#pairKey(name, password, hash)) ? 'ok' : undefined;
  }

  /** @throws HoldfastError `overloaded` where too many checks wait. */
  async verify(name: string, password: string): Promise<'ok' | 'wrong' | 'unknown'> {
    const hash = this.#users.get(name);
    if (hash === undefined) return 'unknown';
    if (password.length > maxPassword) return 'wrong';
    const pair = this.#pairKey(name, password, hash);
    if (this.#right.has(pair)) return 'ok';
    let check = this.#pending.get(pair);
    if (check === undefined) {
      check = this.#check(password, hash).finally(() => this.#pending.delete(pair));
      this.#pending.set(pair, check);
    }
    if (!(await check)) return 'wrong';
    // removed or changed meanwhile: not right any more
    if (this.#users.get(name) !== hash) return 'wrong';
    this.#remember(pair);
    return 'ok';
  }

  async pretend(password: string): Promise<void> {
    if (password.length > maxPassword) return;
    const [some] = this.#users.values();
    const { n, r, p } = (some === undefined ? undefined : parseHash(some)) ?? { n: this.#cost, r: 8, p: 1 };
    await this.#derive(password, { n, r, p, salt: this.#cacheKey }, 32);
  }

  /** User names, in order. */
  async list(): Promise<readonly string[]> {
    return [...(await this.#file.read()).keys()].sort();
  }

  /** @throws HoldfastError `bad_request` for a bad name or password, or one who is there. */
  add(name: string, password: string): Promise<void> {
    return this.#set(name, password, false);
  }

  /** @throws HoldfastError `bad_request` for a bad password, or one who is not there. */
  setPassword(name: string, password: string): Promise<void> {
    return this.#set(name, password, true);
  }

  /** @throws HoldfastError `bad_request` for one who is not there. */
  remove(name: string): Promise<void> {
    return this.#change((users) => {
      if (!users.delete(name)) throw new HoldfastError('bad_request', `no user ${JSON.stringify(name)}`);
    });
  }

  async #set(name: string, password: string, there: boolean): Promise<void> {
    checkUserName(name);
    if (password === '') throw new HoldfastError('bad_request', 'the password is empty');
    if (password.length > maxPassword) {
      throw new HoldfastError('bad_request', `the password is longer than ${maxPassword} characters`);
    }
    const parameters = { n: this.#cost, r: 8, p: 1, salt: randomBytes(16) };
    const hash = formatHash({ ...parameters, key: await this.#derive(password, parameters, 32) });
    await this.#change((users) => {
      if (users.has(name) !== there) {
        throw new HoldfastError(
          'bad_request',
          there ? `no user ${JSON.stringify(name)}` : `user ${name} is there already`,
        );
      }
      users.set(name, hash);
    });
  }

  async #change(apply: (users: Map<string, string>) => void): Promise<void> {
    this.#users = await this.#file.change(apply);
    this.#right.clear();
  }

  async #check(password: string, hash: string): Promise<boolean> {
    const stored = parseHash(hash);
    if (stored === undefined) return false;
    return timingSafeEqual(await this.#derive(password, stored, stored.key.length), stored.key);
  }

  async #derive(password: string, { n, r, p, salt }: Omit<PasswordHash, 'key'>, length: number): Promise<Buffer> {
    if (this.#busy >= concurrency) {
      if (this.#waiting.length >= maxWaiting) throw new HoldfastError('overloaded', 'too many logins at once');
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else this.#busy += 1;
    try {
      return await new Promise<Buffer>((resolve, reject) => {
        scrypt(password.normalize('NFC'), salt, length, { N: n, r, p, maxmem: 256 * n * r }, (error, key) =>
          error === null ? resolve(key) : reject(error),
        );
      });
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#busy -= 1;
      else next();
    }
  }

  #pairKey(name: string, password: string, hash: string): string {
    return createHmac('sha256', this.#cacheKey)
      .update(JSON.stringify([name, password, hash]))
      .digest('base64');
  }

  #remember(pair: string): void {
    if (this.#right.size >= cacheSize) {
      const oldest = this.#right.values().next();
      if (oldest.done !== true) this.#right.delete(oldest.value);
    }
    this.#right.add(pair);
  }
}
