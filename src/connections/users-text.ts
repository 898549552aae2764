import { HoldfastError } from '../base/index.ts';

/**
 * The text of `users.toml`: a small part of TOML, `[users.NAME]` with one key `hash = "scrypt$N$r$p$salt$key"`, comments
 * and blank lines. Anything else is refused: a half-read list of users would lock out, or let in, the wrong ones.
 */

/** scrypt's parameters, the salt and the derived key of one user. */
export interface PasswordHash {
  readonly n: number;
  readonly r: number;
  readonly p: number;
  readonly salt: Buffer;
  readonly key: Buffer;
}

const namePattern = /^[A-Za-z0-9_.-]{1,64}$/;

/** @throws HoldfastError `bad_request` */
export function checkUserName(name: string): void {
  if (namePattern.test(name)) return;
  throw new HoldfastError('bad_request', 'a user name has 1 to 64 letters, digits, _ - .');
}

/** @throws HoldfastError `bad_configuration` with the line. */
export function parseUsers(text: string, path: string): Map<string, string> {
  const users = new Map<string, string>();
  let name: string | undefined;
  for (const [at, raw] of text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const header = /^\[\s*users\s*\.\s*(?:"([^"]*)"|([A-Za-z0-9_-]+))\s*\]\s*(?:#.*)?$/.exec(line);
    const hash = /^hash\s*=\s*"([^"\\]*)"\s*(?:#.*)?$/.exec(line)?.[1];
    if (header !== null) {
      if (name !== undefined && !users.has(name)) throw bad(path, at, `the user before has no hash`);
      name = header[1] ?? header[2] ?? '';
      if (!namePattern.test(name)) throw bad(path, at, 'a user name has 1 to 64 letters, digits, _ - .');
      if (users.has(name)) throw bad(path, at, 'this user is there twice');
    } else if (hash !== undefined && name !== undefined && !users.has(name)) {
      if (parseHash(hash) === undefined) throw bad(path, at, 'expected hash = "scrypt$N$r$p$salt$key"');
      users.set(name, hash);
    } else {
      throw bad(path, at, 'expected [users.NAME] and one hash = "…" below it');
    }
  }
  if (name !== undefined && !users.has(name))
    throw new HoldfastError('bad_configuration', `${path}: the last user has no hash`);
  return users;
}

function bad(path: string, at: number, text: string): HoldfastError {
  return new HoldfastError('bad_configuration', `${path}:${at + 1}: ${text}`);
}

export function formatUsers(users: ReadonlyMap<string, string>): string {
  const parts = [...users].map(
    ([name, hash]) => `\n[users.${name.includes('.') ? `"${name}"` : name}]\nhash = "${hash}"\n`,
  );
  return `# Managed by \`holdfast user\`.\n${parts.join('')}`;
}

/** undefined where it is none, or one whose check would take more than 256 MiB. */
export function parseHash(text: string): PasswordHash | undefined {
  const parts = /^scrypt\$(\d{1,8})\$(\d{1,2})\$(\d{1,2})\$([A-Za-z0-9_-]{11,86})\$([A-Za-z0-9_-]{22,86})$/.exec(text);
  if (parts === null) return undefined;
  const [n, r, p] = [Number(parts[1]), Number(parts[2]), Number(parts[3])];
  if (n < 2 || (n & (n - 1)) !== 0 || r < 1 || p < 1 || p > 16 || 128 * n * r > 256 * 1_048_576) return undefined;
  return { n, r, p, salt: Buffer.from(parts[4] ?? '', 'base64url'), key: Buffer.from(parts[5] ?? '', 'base64url') };
}

export function formatHash({ n, r, p, salt, key }: PasswordHash): string {
  return `scrypt$${n}$${r}$${p}$${salt.toString('base64url')}$${key.toString('base64url')}`;
}
