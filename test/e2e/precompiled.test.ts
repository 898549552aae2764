import { execFile } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { holdfast } from './support/daemon.ts';

const run = promisify(execFile);
const flags = ['--max-semi-space-size=2', '--heap-growing-percent=20'];
const dist = dirname(holdfast);

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'holdfast-precompiled-'));
  for (const file of ['holdfast.js', 'program.js', 'package.json']) {
    copyFileSync(join(dist, file), join(directory, file));
  }
  symlinkSync(join(dist, '../node_modules'), join(directory, 'node_modules'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const cache = () => join(directory, 'program.cache');
const start = (...args: string[]) => run(process.execPath, [...flags, join(directory, 'holdfast.js'), ...args]);
/** Whether V8 took the code cache. */
async function took(): Promise<boolean> {
  const check = `const { Script } = require('node:vm'); const made = Script.prototype.runInThisContext;
    Script.prototype.runInThisContext = function (...args) {
      process.stderr.write('rejected: ' + this.cachedDataRejected + ';');
      return made.apply(this, args);
    };`;
  const preload = join(directory, 'check.cjs');
  writeFileSync(preload, check);
  // by the environment: flags are part of what the cache was made for
  const env = { ...process.env, NODE_OPTIONS: `--require=${preload}` };
  const { stdout, stderr } = await run(process.execPath, [...flags, join(directory, 'holdfast.js'), 'version'], {
    env,
  });
  expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  return stderr.includes('rejected: false;');
}

describe('the program', () => {
  it('starts without a code cache, and with the one that it makes itself, which everybody can read', async () => {
    expect(await took()).toBe(false);
    const { stdout, stderr } = await start('--precompile');
    expect(stdout + stderr).toBe('');
    expect(statSync(cache()).mode & 0o777).toBe(0o644);
    expect(await took()).toBe(true);
  }, 180_000);

  it('takes no cache that is damaged, cut off, or of another program', async () => {
    await start('--precompile');
    const good = readFileSync(cache());
    for (const at of [0, Math.floor(good.length / 2)]) {
      const bad = Buffer.from(good);
      bad.writeUInt8(bad.readUInt8(at) ^ 1, at);
      writeFileSync(cache(), bad);
      expect(await took(), `byte ${at}`).toBe(false);
    }
    for (const length of [0, good.length - 1]) {
      writeFileSync(cache(), good.subarray(0, length));
      expect(await took(), `${length} bytes`).toBe(false);
    }
    writeFileSync(cache(), good);
    const program = join(directory, 'program.js');
    const text = readFileSync(program, 'latin1');
    // as long as before: V8 compares no more than that
    writeFileSync(program, text.replace('expected a command', 'EXPECTED A COMMAND'), 'latin1');
    expect(await took()).toBe(false);
  }, 180_000);
});
