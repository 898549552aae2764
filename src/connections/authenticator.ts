import type { Clock } from '../base/index.ts';
import type { LoginThrottle } from './throttle.ts';

/** Where passwords are checked. */
export interface PasswordCheck {
  /** Whether there is such a user. */
  has(name: string): boolean;
  /** What tells the user's password from those before and after it, and nothing else of it; empty for no such user. */
  stampOf(name: string): string;
  /** `ok` where this pair was found right lately; says nothing otherwise. */
  verifyCached(name: string, password: string): 'ok' | undefined;
  verify(name: string, password: string): Promise<'ok' | 'wrong' | 'unknown'>;
  /** Takes as long as finding a password wrong: so that the time of a refusal does not tell which names there are. */
  pretend(password: string): Promise<void>;
}

/** Where user tokens are checked. */
export interface UserTokens {
  hasLiveToken(username: string): boolean;
  checkUserToken(username: string, token: string, clientId: string): 'ok' | 'wrong';
}

/** What a client gives to be let in. */
export interface Credentials {
  readonly username: string | undefined;
  readonly password: string | undefined;
  /** The full client id, or empty where it gave none. */
  readonly clientId: string;
  /** IP address that it comes from. */
  readonly address: string;
}

/** Wrong attempts are slowed by this, in this time. */
export interface Slowing {
  readonly throttle: LoginThrottle;
  readonly clock: Clock;
}

/** Who logged in; `username` is empty for an anonymous client. */
export type Login = { readonly ok: true; readonly username: string } | { readonly ok: false };

const refused: Login = { ok: false };
const anonymously: Login = { ok: true, username: '' };
const noTokens: UserTokens = { hasLiveToken: () => false, checkUserToken: () => 'wrong' };

/**
 * Decides whether a client may come in. A user name that has a password or a live token must match one of them, also where
 * anonymous clients are let in; any other is then let in as anonymous.
 */
export class Authenticator {
  readonly #passwords: PasswordCheck;
  readonly #tokens: UserTokens;
  readonly #slowing: Slowing | undefined;
  #anonymous: boolean;

  constructor(passwords: PasswordCheck, anonymous: boolean, tokens: UserTokens = noTokens, slowing?: Slowing) {
    this.#passwords = passwords;
    this.#anonymous = anonymous;
    this.#tokens = tokens;
    this.#slowing = slowing;
  }

  allowAnonymous(anonymous: boolean): void {
    this.#anonymous = anonymous;
  }

  /** At once where that is possible, so that a check per request costs no turn of the event loop. */
  login({ username, password, clientId, address }: Credentials): Login | Promise<Login> {
    if (username === undefined || username === '') return this.#anonymous ? anonymously : refused;
    const secret = password ?? '';
    if (this.#passwords.verifyCached(username, secret) === 'ok') return { ok: true, username };
    if (this.#tokens.checkUserToken(username, secret, clientId) === 'ok') return { ok: true, username };
    return this.#verify(username, secret, address);
  }

  /** Whether one who came in as `username`, when `stampOf` said `stamp` of it, may go on. */
  knows(username: string, stamp: string): boolean {
    if (username === '') return this.#anonymous;
    if (this.stampOf(username) !== stamp) return false;
    return this.#passwords.has(username) || this.#tokens.hasLiveToken(username);
  }

  /** Another one once the user's password is another. */
  stampOf(username: string): string {
    return username === '' ? '' : this.#passwords.stampOf(username);
  }

  async #verify(username: string, password: string, address: string): Promise<Login> {
    const throttle = this.#slowing?.throttle;
    if (!(await this.#turn(address, username))) return refused;
    const outcome = await this.#passwords.verify(username, password);
    if (outcome === 'ok') {
      throttle?.succeeded(address, username);
      return { ok: true, username };
    }
    if (outcome === 'unknown') {
      if (this.#anonymous && !this.#tokens.hasLiveToken(username)) return anonymously;
      await this.#passwords.pretend(password);
    }
    throttle?.failed(address, username);
    return refused;
  }

  /** Waits for as long as failed attempts have earned this one; false where too many wait already. */
  async #turn(address: string, username: string): Promise<boolean> {
    const wait = this.#slowing?.throttle.delayFor(address, username) ?? 0;
    if (wait === 'refuse') return false;
    if (wait > 0) await new Promise<void>((resolve) => this.#slowing?.clock.after('slowed login', wait, resolve));
    return true;
  }
}
