import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A package at `place`, a key of the lock file: what it is, by whose checksum, and its licence with all its texts. */
export function describePackage(root, lock, place) {
  const directory = join(root, place);
  const { name, version, license } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
  const locked = lock.packages[place];
  if (locked === undefined || locked.version !== version) {
    throw new Error(`${place} is ${version}, and the lock file has ${locked?.version ?? 'none'}: run npm ci`);
  }
  const texts = readdirSync(directory)
    .filter((file) => /^(licen[cs]e|copying|notice)/i.test(file))
    .sort()
    .map((file) => readFileSync(join(directory, file), 'utf8').replaceAll('\r\n', '\n').trim());
  if (license === undefined && texts.length === 0) throw new Error(`${name} ${version} says nothing of its licence`);
  return { name, version, license, texts, integrity: locked.integrity };
}
