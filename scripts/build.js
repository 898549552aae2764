import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { bundle, nodeFlags, sourceVersion } from './bundle.js';

/** Bundles the daemon for the source tree; only the native store stays outside, in node_modules. */
const outfile = join(import.meta.dirname, '../dist/holdfast.js');

await bundle({
  outfile,
  version: await sourceVersion(),
  firstLines: [`#!/usr/bin/env -S node ${nodeFlags.join(' ')}`],
  // beside the bundle and not named in it: nothing of it is read at run time
  sourcemap: 'external',
  external: ['classic-level'],
});
await chmod(outfile, 0o755);
