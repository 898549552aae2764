import { readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Numbers from 0 up to 1, always the same for a seed. */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const page = 4_096;

/** What was done to a directory. */
export interface Damage {
  readonly kind: (typeof kinds)[number];
  readonly file: string;
  /** For a message of a test that fails. */
  readonly text: string;
}

const kinds = [
  'flip',
  'flip',
  'flip',
  'flip in a table',
  'flip in a table',
  'flip in a journal',
  'zero a page',
  'zero a page',
  'truncate',
  'truncate',
  'truncate a journal',
  'empty',
  'delete CURRENT',
  'garbage in CURRENT',
  'CURRENT names nothing',
  'delete MANIFEST',
  'delete a table',
  'delete a journal',
] as const;

/** Does one thing to a LevelDB directory that a bad disk, or a file system after a power cut, may do. */
export function damage(directory: string, random: () => number): Damage {
  const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(random() * list.length)];
  const all = readdirSync(directory).filter((name) => /^(\d+\.(ldb|log)|MANIFEST-\d+|CURRENT)$/.test(name));
  const tables = all.filter((name) => name.endsWith('.ldb'));
  const journals = all.filter((name) => name.endsWith('.log'));
  const manifests = all.filter((name) => name.startsWith('MANIFEST'));
  // larger files are hit more often, as they are on a disk
  const bySize = (names: readonly string[]) => {
    const sizes = names.map((name) => statSync(join(directory, name)).size + 64);
    let at = random() * sizes.reduce((sum, size) => sum + size, 0);
    return names.find((_name, index) => {
      at -= sizes[index] ?? 0;
      return at < 0;
    });
  };
  for (;;) {
    const kind = pick(kinds) ?? 'flip';
    const anywhere = random() < 0.5 ? pick(all) : bySize(all);
    const of = kind.includes('table') ? bySize(tables) : kind.includes('journal') ? bySize(journals) : anywhere;
    const file =
      kind.endsWith('CURRENT') || kind.startsWith('CURRENT')
        ? 'CURRENT'
        : kind.endsWith('MANIFEST')
          ? manifests[0]
          : of;
    if (file === undefined) continue;
    const path = join(directory, file);
    const bytes = readFileSync(path);
    if (kind.startsWith('delete')) {
      rmSync(path);
      return { kind, file, text: kind };
    }
    if (kind === 'garbage in CURRENT' || kind === 'CURRENT names nothing') {
      writeFileSync(path, kind === 'CURRENT names nothing' ? 'MANIFEST-999999\n' : Buffer.from([1, 0, 255, 77, 10]));
      return { kind, file, text: kind };
    }
    if (bytes.length === 0) continue;
    const at = Math.floor(random() * bytes.length);
    const text = `${kind}: ${file} of ${bytes.length} at ${at}`;
    if (kind.startsWith('flip')) {
      bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << Math.floor(random() * 8)), at);
      writeFileSync(path, bytes);
    } else if (kind === 'zero a page') {
      const from = at - (at % page);
      writeFileSync(path, bytes.fill(0, from, Math.min(bytes.length, from + page)));
    } else {
      truncateSync(path, kind === 'empty' ? 0 : at);
    }
    return { kind, file, text };
  }
}
