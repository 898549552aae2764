import { createHash, randomBytes } from 'node:crypto';

/** What a token is for: the REST API, one user's login, or a login made with that user's password. */
export type TokenKind = 'app' | 'user' | 'im';

/** A token that is known, without itself. */
export interface TokenRecord {
  readonly kind: TokenKind;
  /** SHA-256, base64url. */
  readonly hash: string;
  /** Empty for an application token. */
  readonly username: string;
  /** Of the password that it was given for (`UsersFile.stampOf`); empty where it was given for none. */
  readonly stamp: string;
  /** The one full client id that may use it; empty: any. */
  readonly clientId: string;
  /** Seconds. */
  readonly lifetime: number;
  /** Wall time, milliseconds; undefined while it began on a clock that could not be believed. */
  readonly expires: number | undefined;
}

const kinds: readonly string[] = ['app', 'user', 'im'];
const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const maxText = 256;

/** The hash that a token is known by: looking it up says nothing of how much of a wrong token was right. */
export function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('base64url');
}

/** `length` letters and digits from the system's generator, each as likely as the others: 5.95 bits a character. */
export function randomText(length: number): string {
  let text = '';
  while (text.length < length) {
    // 248 = 4 x 62: the bytes above would make some characters likelier
    for (const byte of randomBytes(length)) if (byte < 248 && text.length < length) text += alphabet[byte % 62];
  }
  return text;
}

export function formatRecord(record: TokenRecord): string {
  const { kind, hash, username, stamp, clientId, lifetime, expires } = record;
  return JSON.stringify({
    kind,
    hash,
    ...(username === '' ? {} : { username }),
    ...(stamp === '' ? {} : { stamp }),
    ...(clientId === '' ? {} : { clientId }),
    lifetime,
    expires: expires ?? null,
  });
}

/** A line that takes a token back. */
export function formatRevocation(hash: string): string {
  return JSON.stringify({ revoked: hash });
}

/** What a line of the file says, or undefined where it is damaged. */
export function parseLine(line: string): TokenRecord | { readonly revoked: string } | undefined {
  let read: unknown;
  try {
    read = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof read !== 'object' || read === null) return undefined;
  const {
    kind,
    hash,
    username = '',
    stamp = '',
    clientId = '',
    lifetime,
    expires,
    revoked,
  } = read as Record<string, unknown>;
  if (isHash(revoked)) return { revoked };
  if (typeof kind !== 'string' || !kinds.includes(kind) || !isHash(hash)) return undefined;
  if (!isText(username) || !isText(stamp) || !isText(clientId) || !isWhole(lifetime)) return undefined;
  if (expires !== null && !isWhole(expires)) return undefined;
  return { kind: kind as TokenKind, hash, username, stamp, clientId, lifetime, expires: expires ?? undefined };
}

function isHash(value: unknown): value is string {
  return typeof value === 'string' && /^[A-Za-z0-9_-]{43}$/.test(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= maxText;
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value);
}
