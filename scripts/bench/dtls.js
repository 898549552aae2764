/**
 * DTLS: handshakes a second and memory of a session in one process, requests a second of the built daemon over coaps against
 * plain coap in the same run. `node scripts/bench/dtls.js [--quick]`; not part of `npm run bench`.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';

const directory = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
const script = join(directory, 'dtls-load.mjs');
console.log(`node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown processor'}\n`);
try {
  await build({
    entryPoints: [join(import.meta.dirname, 'dtls-load.ts')],
    outfile: script,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'warning',
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  });
  const daemon = join(import.meta.dirname, '../../dist/holdfast.js');
  const args = ['--expose-gc', script, directory, daemon, ...process.argv.slice(2)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  process.exitCode = await new Promise((resolve) => child.once('exit', (code) => resolve(code ?? 1)));
} finally {
  rmSync(directory, { recursive: true, force: true });
}
