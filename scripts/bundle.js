import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..');

/** What V8 is told, wherever the daemon is started: a small heap that grows slowly suits a board of 512 MB. */
export const nodeFlags = ['--max-semi-space-size=2', '--heap-growing-percent=20'];

/** What glibc is told: to give freed memory back soon, and to keep one heap for all threads. */
export const environment = ['MALLOC_ARENA_MAX=1', 'MALLOC_TRIM_THRESHOLD_=65536'];

/** The file that starts the program beside it. */
export const loader = join(import.meta.dirname, 'program/holdfast.cjs');

/**
 * What most gateways never use is loaded at its first use, if ever, and costs no memory before: each module with the
 * names that are read of it. TLS alone is 7 MB.
 */
const later = {
  tls: ['connect', 'createServer', 'TLSSocket'],
  https: ['createServer', 'request'],
  socks: ['SocksClient'],
  zlib: ['Z_DEFAULT_WINDOWBITS', 'Z_SYNC_FLUSH', 'createDeflateRaw', 'createInflateRaw'],
  'pino-pretty': ['prettyFactory'],
};

/** What is read as soon as it is imported, and has to be there: as little as the daemon's start takes of it. */
const briefly = {
  // what holds needs no more; what does not is for the whole to say
  assert: `const checks = {
  ok: (value) => value,
  equal: (actual, expected) => actual === expected,
  strictEqual: Object.is,
  notStrictEqual: (actual, expected) => !Object.is(actual, expected),
};
module.exports = (...given) => given[0] || require('assert')(...given);
for (const [name, holds] of Object.entries(checks))
  module.exports[name] = (...given) => holds(...given) || require('assert')[name](...given);`,
  // pino and its streams ask; they have no worker
  worker_threads: 'module.exports = { isMainThread: true };',
  // for other text V8 needs its tables of all emoji, which take a tenth of a start
  'string-width': `module.exports = (text, options) =>
  typeof text === 'string' && /^[ -~]*$/.test(text) ? text.length : require('string-width').default(text, options);`,
};

const contentsOf = (path) =>
  briefly[path] ??
  `module.exports = {${later[path].map((name) => `get ${name}() { return require('${path}').${name}; }`)}};`;

const loadedLater = {
  name: 'loaded later',
  setup(build) {
    const namespace = 'later';
    const filter = new RegExp(`^(?:node:)?(?:${Object.keys({ ...later, ...briefly }).join('|')})$`);
    build.onResolve({ filter }, ({ path, namespace: from }) =>
      from === namespace ? undefined : { path: path.replace('node:', ''), namespace },
    );
    build.onLoad({ filter: /.*/, namespace }, ({ path }) => ({ contents: contentsOf(path), resolveDir: root }));
  },
};

/** What a package brings for other platforms, in the place of which Node.js has its own. */
const ownOfNode = {
  name: "Node.js's own",
  setup(build) {
    build.onResolve({ filter: /^readable-stream$/ }, () => ({ path: 'stream', external: true }));
    build.onLoad({ filter: /[\\/]worker-timers[\\/]build[\\/]es5[\\/]bundle\.js$/ }, () => ({
      contents: 'module.exports = { setInterval, clearInterval };',
    }));
  },
};

/** The version in package.json. */
export async function sourceVersion() {
  return JSON.parse(await readFile(join(root, 'package.json'), 'utf8')).version;
}

/**
 * Bundles the daemon into the one file `outfile`, for `loader` to run: the function around a CommonJS module. As an ES module
 * it would have to load all that Node.js's own modules export, an HTTP client and more, 14 MB. `more` are esbuild's options.
 * Gives the places in node_modules of the packages that are in it.
 */
export async function bundle({ outfile, version, plugins = [], ...more }) {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: ['src/main.ts'],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    // names stay, for stack traces
    minifyWhitespace: true,
    minifySyntax: true,
    charset: 'ascii',
    banner: {
      js: "(function (require, module, exports, __filename, __dirname) { const __url = require('node:url').pathToFileURL(__filename).href;",
    },
    footer: { js: '})' },
    define: { 'import.meta.url': '__url', HOLDFAST_VERSION: JSON.stringify(version) },
    // yargs asks for a way to find files that a configuration of its own extends; there is none
    logOverride: { 'empty-import-meta': 'silent' },
    logLevel: 'warning',
    metafile: true,
    plugins: [...plugins, loadedLater, ownOfNode],
    ...more,
  });
  const places = Object.keys(metafile.inputs).map(
    (file) => /\bnode_modules\/(?:.*\bnode_modules\/)?(?:@[^/]+\/)?[^/]+/.exec(file)?.[0],
  );
  return [...new Set(places)].filter((place) => place !== undefined).sort();
}
