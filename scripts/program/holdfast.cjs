/**
 * Runs the program, `program.js` beside this file: one function of what a CommonJS module is given.
 *
 * To compile it takes a third of a start. So V8's code cache is used where `--precompile` has left one beside it
 * (`program.cache`), made of these very bytes by this Node.js with these flags; else it is compiled. V8 does not look for
 * damage, and dies of it: a hash does. Who can write the cache decides what the program does, so it lies where the program
 * does, for root to write and not for the daemon.
 */
'use strict';
const { createHash } = require('node:crypto');
const { chmodSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { Script } = require('node:vm');

const filename = join(__dirname, 'program.js');
const cacheFile = join(__dirname, 'program.cache');
const hashBytes = 32;

function hashOf(source, cache) {
  const made = `${process.version} ${process.arch} ${process.execArgv.join(' ')}`;
  return createHash('sha256').update(made).update(source).update(cache).digest();
}

/** The code cache; undefined where there is none for this program. */
function codeCacheOf(source) {
  let file;
  try {
    file = readFileSync(cacheFile);
  } catch {
    return undefined;
  }
  const cache = file.subarray(hashBytes);
  return hashOf(source, cache).equals(file.subarray(0, hashBytes)) ? cache : undefined;
}

function compiled() {
  const source = readFileSync(filename);
  // esbuild writes ASCII, which needs no decoding
  return new Script(source.latin1Slice(), { filename, cachedData: codeCacheOf(source) });
}

/** Starts the daemon on a directory of its own, and keeps what V8 has compiled once it is ready. */
function precompile(script) {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-precompile-'));
  const fail = (reason) => {
    process.stderr.write(`holdfast: not precompiled: ${reason}\n`);
    process.exit(1);
  };
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  for (const name of Object.keys(process.env)) {
    if (/^(?:HOLDFAST_|LISTEN_|NOTIFY_|WATCHDOG_)/.test(name)) delete process.env[name];
  }
  const config = join(directory, 'holdfast.toml');
  writeFileSync(
    config,
    `state_dir = ${JSON.stringify(join(directory, 'state'))}
log = { level = "info", format = "json" }
coap = { listen = ["coap://127.0.0.1:0"] }
mqtt = { listen = ["mqtt://127.0.0.1:0"] }
rest = { listen = "http://127.0.0.1:0" }
`,
  );
  process.argv.splice(2, Number.POSITIVE_INFINITY, 'run', '--config', config);
  let written = false;
  let said = '';
  const { stdout } = process;
  const write = stdout.write.bind(stdout);
  stdout.write = (text, ...rest) => {
    said += text;
    if (!written && said.includes('holdfast is ready')) {
      written = true;
      setImmediate(() => {
        try {
          const cache = script.createCachedData();
          const arriving = `${cacheFile}.${process.pid}`;
          writeFileSync(arriving, Buffer.concat([hashOf(readFileSync(filename), cache), cache]));
          chmodSync(arriving, 0o644);
          renameSync(arriving, cacheFile);
        } catch (thrown) {
          fail(thrown.message);
        }
        process.kill(process.pid, 'SIGTERM');
      });
    }
    return write('', ...rest);
  };
  process.once('exit', () => {
    if (!written) process.stderr.write(`holdfast: not precompiled, since the daemon does not start:\n${said}`);
  });
  setTimeout(() => fail('the daemon was not ready within a minute'), 60_000).unref();
}

function start() {
  const script = compiled();
  if (process.argv[2] === '--precompile') precompile(script);
  script.runInThisContext()(require, module, exports, filename, __dirname);
}

start();
