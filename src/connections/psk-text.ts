import { HoldfastError } from '../base/index.ts';

/**
 * The text of `psk.toml`: a small part of TOML, `[psk.IDENTITY]` with one key `key = "…"` in hexadecimal, comments and
 * blank lines. Anything else is refused, and no message quotes a line: it may be a key.
 */

const namePattern = /^[A-Za-z0-9_.-]{1,64}$/;
/** RFC 7925 §4.2 wants 128 bits at least. */
const minKey = 16;
const maxKey = 64;

/** @throws HoldfastError `bad_request` */
export function checkIdentity(name: string): void {
  if (namePattern.test(name)) return;
  throw new HoldfastError('bad_request', 'an identity has 1 to 64 letters, digits, _ - .');
}

/** @throws HoldfastError `bad_request` */
export function readKey(hex: string): Buffer {
  const key = keyOf(hex.trim());
  if (key !== undefined) return key;
  throw new HoldfastError('bad_request', `a key has ${minKey} to ${maxKey} bytes, in hexadecimal`);
}

/** @throws HoldfastError `bad_configuration` with the line. */
export function parsePsks(text: string, path: string): Map<string, Buffer> {
  const keys = new Map<string, Buffer>();
  let name: string | undefined;
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/);
  for (const [at, raw] of lines.entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const header = /^\[\s*psk\s*\.\s*(?:"([^"]*)"|([A-Za-z0-9_-]+))\s*\]\s*(?:#.*)?$/.exec(line);
    const hex = /^key\s*=\s*"([0-9A-Fa-f]*)"\s*(?:#.*)?$/.exec(line)?.[1];
    if (header !== null) {
      if (name !== undefined && !keys.has(name)) throw bad(path, at, 'the identity before has no key');
      name = header[1] ?? header[2] ?? '';
      if (!namePattern.test(name)) throw bad(path, at, 'an identity has 1 to 64 letters, digits, _ - .');
      if (keys.has(name)) throw bad(path, at, 'this identity is there twice');
    } else if (hex !== undefined && name !== undefined && !keys.has(name)) {
      const key = keyOf(hex);
      if (key === undefined) throw bad(path, at, `expected ${minKey} to ${maxKey} bytes, in hexadecimal`);
      keys.set(name, key);
    } else {
      throw bad(path, at, 'expected [psk.IDENTITY] and one key = "…" below it');
    }
  }
  if (name !== undefined && !keys.has(name))
    throw new HoldfastError('bad_configuration', `${path}: the last identity has no key`);
  return keys;
}

export function formatPsks(keys: ReadonlyMap<string, Buffer>): string {
  const parts = [...keys].map(
    ([name, key]) => `\n[psk.${name.includes('.') ? `"${name}"` : name}]\nkey = "${key.toString('hex')}"\n`,
  );
  return `# Managed by \`holdfast psk\`.\n${parts.join('')}`;
}

function keyOf(hex: string): Buffer | undefined {
  if (!/^(?:[0-9A-Fa-f]{2})+$/.test(hex)) return undefined;
  const key = Buffer.from(hex, 'hex');
  return key.length >= minKey && key.length <= maxKey ? key : undefined;
}

function bad(path: string, at: number, text: string): HoldfastError {
  return new HoldfastError('bad_configuration', `${path}:${at + 1}: ${text}`);
}
