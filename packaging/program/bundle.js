import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { bundle, loader, sourceVersion } from '../../scripts/bundle.js';
import { strip } from './strip.js';

/**
 * `bundle.js ARCH DIRECTORY`: the program for packages, complete without node_modules: `holdfast.cjs`, which starts
 * `program.js`, and LevelDB for that architecture, `classic-level.node`; and `packages.json`, what they are made of. VERSION is the version it
 * calls itself.
 */
const prebuilds = {
  amd64: 'linux-x64/classic-level.node',
  arm64: 'linux-arm64/classic-level.armv8.node',
  armhf: 'linux-arm/classic-level.armv7.node',
};

/** The package looks for its binary in a tree of files that is not there any more. */
const bindingBesideBundle = {
  name: 'classic-level binding',
  setup(build) {
    build.onLoad({ filter: /classic-level[\\/]binding\.js$/ }, () => ({
      contents: "module.exports = require(__dirname + '/classic-level.node');",
      loader: 'js',
    }));
  },
};

const [arch, directory] = process.argv.slice(2);
const prebuild = prebuilds[arch];
if (prebuild === undefined || directory === undefined) {
  console.error(`usage: bundle.js ${Object.keys(prebuilds).join('|')} DIRECTORY`);
  process.exit(2);
}
const packages = await bundle({
  outfile: join(directory, 'program.js'),
  version: process.env.VERSION ?? (await sourceVersion()),
  plugins: [bindingBesideBundle],
  legalComments: 'none',
});
await copyFile(loader, join(directory, 'holdfast.cjs'));
await writeFile(join(directory, 'packages.json'), JSON.stringify(packages));
const store = dirname(new URL(import.meta.resolve('classic-level/package.json')).pathname);
await writeFile(join(directory, 'classic-level.node'), strip(await readFile(join(store, 'prebuilds', prebuild))));
