import type { PasswordCheck } from '../../src/connections/index.ts';

/** Passwords by user name, in the clear: what the users file does is tested by itself. */
export type Passwords = Readonly<Record<string, string>>;

export function plainPasswords(passwords: Passwords = {}): PasswordCheck {
  return {
    has: (name) => passwords[name] !== undefined,
    stampOf: (name) => passwords[name] ?? '',
    verifyCached: () => undefined,
    verify: async (name, password) =>
      passwords[name] === undefined ? 'unknown' : passwords[name] === password ? 'ok' : 'wrong',
    pretend: async () => undefined,
  };
}
