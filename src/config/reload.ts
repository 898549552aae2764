import { isDeepStrictEqual } from 'node:util';
import type { Config } from './schema.ts';
import { isTree } from './walk.ts';

/** Keys whose change takes effect in a running daemon; all of a table where it is named. */
const reloadable: readonly string[] = ['log.level', 'auth'];

/** What differs between two configurations: what a reload applies, and what waits for a restart. Keys as in TOML. */
export function changedKeys(
  old: Config,
  fresh: Config,
): { readonly applied: readonly string[]; readonly needRestart: readonly string[] } {
  const changed = [...differences(old, fresh, '')];
  const applies = (key: string) =>
    reloadable.some((one) => key === one || key.startsWith(`${one}.`)) &&
    key !== 'auth.users_file' &&
    key !== 'auth.psk_file';
  return { applied: changed.filter(applies), needRestart: changed.filter((key) => !applies(key)) };
}

function* differences(a: unknown, b: unknown, path: string): Generator<string> {
  if (isTree(a) && isTree(b)) {
    for (const name of new Set([...Object.keys(a), ...Object.keys(b)])) {
      const snake = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      yield* differences(a[name], b[name], path === '' ? snake : `${path}.${snake}`);
    }
  } else if (!isDeepStrictEqual(a, b)) yield path;
}
