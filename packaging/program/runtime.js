import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { strip } from './strip.js';

/**
 * `runtime.js ARCH DIRECTORY`: the Node.js of node-runtime.json, as `node` (stripped) and `LICENSE`. Its archive comes
 * from the npm registry once, is kept in `.cache/node`, and is checked against the pinned checksum each time.
 */
const [arch, directory] = process.argv.slice(2);
const { version, packages } = JSON.parse(readFileSync(join(import.meta.dirname, 'node-runtime.json'), 'utf8'));
const pinned = packages[arch];
if (pinned === undefined || directory === undefined) {
  console.error(`usage: runtime.js ${Object.keys(packages).join('|')} DIRECTORY`);
  process.exit(2);
}
const cache = join(import.meta.dirname, '../../.cache/node');
const archive = join(cache, `${pinned.name}-${version}.tgz`);

if (!existsSync(archive)) {
  mkdirSync(cache, { recursive: true });
  const arriving = mkdtempSync(join(cache, 'arriving-'));
  try {
    execFileSync('npm', ['pack', '--silent', `${pinned.name}@${version}`], {
      cwd: arriving,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    renameSync(join(arriving, `${pinned.name}-${version}.tgz`), archive);
  } finally {
    rmSync(arriving, { recursive: true });
  }
}
const integrity = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`;
if (integrity !== pinned.integrity) {
  console.error(
    `${archive} is not what node-runtime.json pins; delete it to fetch it again:\n  found  ${integrity}\n  pinned ${pinned.integrity}`,
  );
  process.exit(1);
}
const file = (name) => execFileSync('tar', ['-xzOf', archive, name], { maxBuffer: 1 << 30 });
writeFileSync(join(directory, 'node'), strip(file('package/bin/node')), { mode: 0o755 });
writeFileSync(join(directory, 'LICENSE'), file('package/LICENSE'));
