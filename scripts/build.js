import { execFileSync } from 'node:child_process';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bundle, environment, loader, nodeFlags, sourceVersion } from './bundle.js';

/** Bundles the daemon for the source tree; only the store's binary stays outside, in node_modules. */
const directory = join(import.meta.dirname, '../dist');
const program = join(directory, 'holdfast.js');

/** The package looks for its binary in its own directory. */
const bindingInPlace = {
  name: 'classic-level binding',
  setup(build) {
    build.onResolve({ filter: /^\.\/binding$/ }, ({ importer }) =>
      /[\\/]classic-level[\\/]/.test(importer) ? { path: 'classic-level/binding.js', external: true } : undefined,
    );
  },
};

await mkdir(directory, { recursive: true });
await bundle({
  outfile: join(directory, 'program.js'),
  version: await sourceVersion(),
  // beside the bundle and not named in it: nothing of it is read at run time
  sourcemap: 'external',
  plugins: [bindingInPlace],
});
await writeFile(join(directory, 'package.json'), '{ "type": "commonjs" }\n');
const firstLine = `#!/usr/bin/env -S ${environment.join(' ')} node ${nodeFlags.join(' ')}\n`;
await writeFile(program, firstLine + (await readFile(loader, 'utf8')));
await chmod(program, 0o755);
try {
  execFileSync(process.execPath, [...nodeFlags, program, '--precompile'], { stdio: ['ignore', 'ignore', 'inherit'] });
} catch {
  console.error('The program was not precompiled: it starts all the same, only slower.');
}
