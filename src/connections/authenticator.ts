/** Where passwords are checked. */
export interface PasswordCheck {
  /** `ok` where this pair was found right lately; says nothing otherwise. */
  verifyCached(name: string, password: string): 'ok' | undefined;
  verify(name: string, password: string): Promise<'ok' | 'wrong' | 'unknown'>;
}

/** Who logged in; `username` is empty for an anonymous client. */
export type Login = { readonly ok: true; readonly username: string } | { readonly ok: false };

const refused: Login = { ok: false };
const anonymously: Login = { ok: true, username: '' };

/**
 * Decides whether a client may come in. A user name that has a password must match it, also where anonymous clients are
 * let in; any other is then let in as anonymous.
 */
export class Authenticator {
  readonly #passwords: PasswordCheck;
  #anonymous: boolean;

  constructor(passwords: PasswordCheck, anonymous: boolean) {
    this.#passwords = passwords;
    this.#anonymous = anonymous;
  }

  allowAnonymous(anonymous: boolean): void {
    this.#anonymous = anonymous;
  }

  /** At once where that is possible, so that a check per request costs no turn of the event loop. */
  login(username: string | undefined, password: string | undefined): Login | Promise<Login> {
    if (username === undefined || username === '') return this.#anonymous ? anonymously : refused;
    if (this.#passwords.verifyCached(username, password ?? '') === 'ok') return { ok: true, username };
    return this.#verify(username, password ?? '');
  }

  async #verify(username: string, password: string): Promise<Login> {
    const outcome = await this.#passwords.verify(username, password);
    if (outcome === 'ok') return { ok: true, username };
    return outcome === 'unknown' && this.#anonymous ? anonymously : refused;
  }
}
