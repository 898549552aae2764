import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..');

/** What V8 is told, wherever the daemon is started: a small heap that grows slowly suits a board of 512 MB. */
export const nodeFlags = ['--max-semi-space-size=2', '--heap-growing-percent=20'];

/** What CommonJS in the bundle expects to find. */
const commonJs = [
  "import { createRequire as __createRequire } from 'node:module';",
  'const require = __createRequire(import.meta.url);',
  'const __filename = import.meta.filename;',
  'const __dirname = import.meta.dirname;',
];

/** The version in package.json. */
export async function sourceVersion() {
  return JSON.parse(await readFile(join(root, 'package.json'), 'utf8')).version;
}

/**
 * Bundles the daemon into the one file `outfile`; `firstLines` come before everything else, `more` are esbuild's options.
 * Gives the places in node_modules of the packages that are in it.
 */
export async function bundle({ outfile, version, firstLines = [], ...more }) {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: ['src/main.ts'],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    // names stay as they are: a stack that somebody sends can be read, and what would restore them to closures costs more
    minifyWhitespace: true,
    minifySyntax: true,
    banner: { js: [...firstLines, ...commonJs].join('\n') },
    define: { HOLDFAST_VERSION: JSON.stringify(version) },
    logLevel: 'warning',
    metafile: true,
    ...more,
  });
  const places = Object.keys(metafile.inputs).map(
    (file) => /\bnode_modules\/(?:.*\bnode_modules\/)?(?:@[^/]+\/)?[^/]+/.exec(file)?.[0],
  );
  return [...new Set(places)].filter((place) => place !== undefined).sort();
}
