import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { daemonPath } from '../bench.js';
import { row } from '../measure.js';

/**
 * DTLS: handshakes a second and memory of a session in one process, requests a second of the built daemon over coaps against
 * plain coap in the same rounds. The generator is one in Node.js here, with the tests' DTLS client: it takes more than the
 * daemon does, so the ratio counts, not the rate.
 */
export async function dtls(bench) {
  const place = bench.place('dtls');
  const script = join(place, 'dtls-load.mjs');
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
  // its daemon ends with it, too
  const daemon = join(place, 'daemon');
  writeFileSync(daemon, `#!/bin/sh\nexec '${bench.tools.hold}' '${daemonPath}' "$@"\n`, { mode: 0o755 });
  const args = ['--expose-gc', script, place, daemon, ...(bench.quick ? ['--quick'] : [])];
  const running = await bench.start(process.execPath, args);
  const code = await bench.ended(running, 180_000);
  if (code !== 0) throw new Error(`dtls-load ended (${code}):\n${running.output}`);
  const lines = running.output.trim().split('\n');
  return lines.map((line) => {
    const { figure, values, note } = JSON.parse(line);
    const digits = [values].flat().every(Number.isInteger) ? 0 : 2;
    return row(figure, values, { digits, note });
  });
}
