import { chmod, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';

/** Bundles the daemon into one file; only the native store stays outside. */
const root = join(import.meta.dirname, '..');
const outfile = join(root, 'dist/holdfast.js');
const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));

const banner = [
  '#!/usr/bin/env -S node --max-semi-space-size=2 --heap-growing-percent=20',
  "import { createRequire as __createRequire } from 'node:module';",
  'const require = __createRequire(import.meta.url);',
  'const __filename = import.meta.filename;',
  'const __dirname = import.meta.dirname;',
].join('\n');

await rm(join(root, 'dist'), { recursive: true, force: true });
await build({
  entryPoints: [join(root, 'src/main.ts')],
  outfile,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  minify: true,
  keepNames: true,
  // beside the bundle and not named in it: nothing of it is read at run time
  sourcemap: 'external',
  external: ['classic-level'],
  banner: { js: banner },
  define: { HOLDFAST_VERSION: JSON.stringify(version) },
  logLevel: 'warning',
});
await chmod(outfile, 0o755);
