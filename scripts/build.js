/** Bundles the program into `dist/holdfast.js`: one file, beside it only `classic-level` from node_modules. */
import { chmodSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const out = join(root, 'dist/holdfast.js');

// CommonJS packages in the bundle ask for these
const shim = [
  "import{createRequire as __createRequire}from'node:module';",
  "import{fileURLToPath as __toPath}from'node:url';",
  "import{dirname as __toDir}from'node:path';",
  'const require=__createRequire(import.meta.url);',
  'const __filename=__toPath(import.meta.url);',
  'const __dirname=__toDir(__filename);',
].join('');

rmSync(join(root, 'dist'), { recursive: true, force: true });
await build({
  entryPoints: [join(root, 'src/main.ts')],
  outfile: out,
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  minify: true,
  keepNames: true,
  legalComments: 'none',
  sourcemap: 'external',
  external: ['classic-level', 'bufferutil', 'utf-8-validate'],
  define: { 'process.env.HOLDFAST_VERSION_AT_BUILD': JSON.stringify(version) },
  // a small young generation: ten megabytes less at rest, for a Pi
  banner: { js: `#!/usr/bin/env -S node --max-semi-space-size=1\n${shim}` },
  logLevel: 'warning',
});
chmodSync(out, 0o755);
