import { type Clock, HoldfastError, reasonOf, type Service } from '../base/index.ts';
import type { ClockQuality } from '../domain/index.ts';
import type { Counter, Logger, Metrics } from '../telemetry/index.ts';
import { TokenFile } from './token-file.ts';
import { formatRecord, formatRevocation, hashOf, parseLine, randomText, type TokenRecord } from './token-record.ts';

/** A token that was made: only its holder has it from now on. */
export interface IssuedToken {
  readonly token: string;
  /** Seconds. */
  readonly expiresIn: number;
}

/** Lifetimes in seconds. */
export const appTokenLifetime = 5_184_000;
export const userTokenLifetime = 259_200;

export interface TokenBounds {
  readonly app: number;
  /** Of users, of either kind. */
  readonly user: number;
}

const defaultBounds: TokenBounds = { app: 10_000, user: 50_000 };
const sweepInterval = 60_000;
/** Dead lines below this are not worth a new file. */
const worthRenewing = 1_000;

interface Kept extends TokenRecord {
  /** On disk: answered to somebody. */
  live: boolean;
}

/**
 * Tokens of the REST API and of users. Made by the system's random generator, kept as hashes in one file, on disk before
 * anybody learns of them. They end by wall time; on a clock that cannot be believed nothing ends, and a token made then
 * begins its life once it can. Bounded in number: the one unused for longest goes first, and is counted.
 */
export class TokenStore implements Service {
  readonly name = 'tokens';
  readonly #clock: Clock;
  readonly #quality: () => ClockQuality;
  readonly #logger: Logger;
  readonly #bounds: TokenBounds;
  readonly #file: TokenFile;
  /** By hash, the one unused for longest first. */
  readonly #app = new Map<string, Kept>();
  readonly #user = new Map<string, Kept>();
  readonly #byName = new Map<string, Set<string>>();
  readonly #evicted: Counter;
  #lines = 0;
  #sweep: { cancel(): void } | undefined;
  #open = false;

  constructor(deps: {
    path: string;
    clock: Clock;
    quality: () => ClockQuality;
    logger: Logger;
    metrics: Metrics;
    bounds?: TokenBounds;
  }) {
    this.#clock = deps.clock;
    this.#quality = deps.quality;
    this.#logger = deps.logger;
    this.#bounds = deps.bounds ?? defaultBounds;
    this.#file = new TokenFile(deps.path, deps.logger, () => this.#fresh());
    this.#evicted = deps.metrics.counter(
      'holdfast_tokens_evicted_total',
      'Tokens dropped at the bound on their number.',
    );
    for (const [kind, tokens] of [
      ['app', this.#app],
      ['user', this.#user],
    ] as const) {
      deps.metrics.gauge('holdfast_tokens', 'Tokens that are valid.', () => tokens.size, { kind });
    }
  }

  /** Reads the tokens back; a damaged line is skipped. */
  async start(): Promise<void> {
    let damaged = 0;
    for (const line of await this.#file.load()) {
      this.#lines += 1;
      const read = parseLine(line);
      if (read === undefined) damaged += 1;
      else if ('revoked' in read) this.#drop(read.revoked);
      else this.#keep({ ...read, live: true });
    }
    if (damaged > 0) this.#logger.warn({ lines: damaged }, 'damaged lines were skipped among the tokens');
    this.#open = true;
    this.#expire();
    this.#sweep = this.#clock.every('token sweep', sweepInterval, () => this.#expire());
  }

  async stop(): Promise<void> {
    this.#open = false;
    this.#sweep?.cancel();
    await this.#file.close();
  }

  /** @throws HoldfastError `store_failed`, `unavailable`; the same for the others. */
  createAppToken(): Promise<IssuedToken> {
    return this.#create(`YWMt${randomText(126)}`, { kind: 'app', lifetime: appTokenLifetime });
  }

  /** 27 characters. `clientId`: the only full client id that may use it. `expiresIn`: seconds. */
  createUserToken(given: { username: string; clientId?: string; expiresIn: number }): Promise<IssuedToken> {
    const { username, clientId = '', expiresIn } = given;
    return this.#create(randomText(27), { kind: 'user', username, clientId, lifetime: expiresIn });
  }

  /** 130 characters, for one whose password was right; `stamp` tells it from the password's successors. */
  createImToken(username: string, stamp: string): Promise<IssuedToken> {
    return this.#create(`YWMt${randomText(126)}`, { kind: 'im', username, stamp, lifetime: appTokenLifetime });
  }

  isAppToken(token: string): boolean {
    return this.#used(this.#app, hashOf(token)) !== undefined;
  }

  /** Whether somebody could log in with a token under this name. */
  hasLiveToken(username: string): boolean {
    for (const hash of this.#byName.get(username) ?? []) {
      const kept = this.#user.get(hash);
      if (kept?.live === true && !this.#over(kept)) return true;
    }
    return false;
  }

  /** `clientId`: the full one of who logs in, or empty. */
  checkUserToken(username: string, token: string, clientId: string): 'ok' | 'wrong' {
    if (!this.#byName.has(username)) return 'wrong';
    const kept = this.#used(this.#user, hashOf(token));
    if (kept === undefined || kept.username !== username) return 'wrong';
    return kept.clientId === '' || kept.clientId === clientId ? 'ok' : 'wrong';
  }

  /** Takes back the tokens that were given for a password that its user has no more: `stampOf` says which one has. */
  dropStale(stampOf: (username: string) => string): void {
    const stale = [...this.#user.values()].filter((one) => one.kind === 'im' && one.stamp !== stampOf(one.username));
    for (const { hash } of stale) {
      this.#drop(hash);
      // should the line not come to the disk, the next run finds it stale again
      this.#note(formatRevocation(hash));
    }
  }

  async #create(
    token: string,
    given: Pick<TokenRecord, 'kind' | 'lifetime'> & Partial<TokenRecord>,
  ): Promise<IssuedToken> {
    if (!this.#open) throw new HoldfastError('unavailable', 'the tokens are not open');
    const { lifetime } = given;
    const expires = this.#quality() === 'synced' ? this.#clock.wall() + lifetime * 1_000 : undefined;
    const kept: Kept = { username: '', stamp: '', clientId: '', ...given, hash: hashOf(token), expires, live: false };
    const evicted = this.#keep(kept);
    this.#lines += 1;
    if (evicted !== undefined) this.#note(formatRevocation(evicted));
    try {
      await this.#file.append(formatRecord(kept));
    } catch (thrown) {
      this.#drop(kept.hash);
      throw thrown;
    }
    kept.live = true;
    return { token, expiresIn: lifetime };
  }

  /** A token that is valid, moved behind those not used since. */
  #used(tokens: Map<string, Kept>, hash: string): Kept | undefined {
    const kept = tokens.get(hash);
    if (kept === undefined || !kept.live || this.#over(kept)) return undefined;
    tokens.delete(hash);
    tokens.set(hash, kept);
    return kept;
  }

  #over({ expires }: Kept): boolean {
    return expires !== undefined && this.#quality() === 'synced' && this.#clock.wall() >= expires;
  }

  /** The hash of the one that had to make room. */
  #keep(kept: Kept): string | undefined {
    this.#drop(kept.hash);
    const tokens = kept.kind === 'app' ? this.#app : this.#user;
    tokens.set(kept.hash, kept);
    if (kept.kind !== 'app') {
      const hashes = this.#byName.get(kept.username);
      if (hashes === undefined) this.#byName.set(kept.username, new Set([kept.hash]));
      else hashes.add(kept.hash);
    }
    const bound = kept.kind === 'app' ? this.#bounds.app : this.#bounds.user;
    const oldest = tokens.keys().next();
    if (tokens.size <= bound || oldest.done === true) return undefined;
    this.#drop(oldest.value);
    this.#evicted.add();
    return oldest.value;
  }

  /** A line that nobody waits for. */
  #note(line: string): void {
    this.#lines += 1;
    this.#file.append(line).catch((thrown: unknown) => {
      this.#logger.warn({ reason: reasonOf(thrown) }, 'a change of the tokens was not written down');
    });
  }

  #drop(hash: string): void {
    const kept = this.#app.get(hash) ?? this.#user.get(hash);
    if (kept === undefined) return;
    this.#app.delete(hash);
    this.#user.delete(hash);
    const hashes = this.#byName.get(kept.username);
    hashes?.delete(hash);
    if (hashes?.size === 0) this.#byName.delete(kept.username);
  }

  #expire(): void {
    if (this.#quality() !== 'synced') return;
    for (const tokens of [this.#app, this.#user]) {
      for (const kept of tokens.values()) {
        if (this.#over(kept)) this.#drop(kept.hash);
        else if (kept.expires === undefined && kept.live) this.#begin(tokens, kept);
      }
    }
  }

  /** The clock can be believed now: a token that was made before begins its life. */
  #begin(tokens: Map<string, Kept>, kept: Kept): void {
    const begun: Kept = { ...kept, expires: this.#clock.wall() + kept.lifetime * 1_000 };
    tokens.set(kept.hash, begun);
    this.#note(formatRecord(begun));
  }

  #fresh(): readonly string[] | undefined {
    const alive = this.#app.size + this.#user.size;
    if (this.#lines < worthRenewing || this.#lines < alive * 2) return undefined;
    this.#lines = alive;
    return [...this.#app.values(), ...this.#user.values()].map(formatRecord);
  }
}
