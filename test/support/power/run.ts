import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '../../..');

/** What a run of the writer takes. */
export interface Run {
  /** The directory that is on the disk; the state directory is made in it. */
  readonly directory: string;
  readonly seed: number;
  readonly firstSerial: number;
  readonly messages: number;
  /** LevelDB's buffer, bytes. */
  readonly buffer: number;
  /** The operation at which the power goes, counted from 1. */
  readonly at: number;
  /** Only operations on directories, small files and tables count. */
  readonly rare: boolean;
}

/** The writer under the file layer, built into a directory. */
export class PowerBench {
  readonly #place: string;
  readonly #children = new Set<ChildProcess>();

  private constructor(place: string) {
    this.#place = place;
  }

  /** @throws Error where there is no C compiler. */
  static async build(place: string): Promise<PowerBench> {
    const sources = ['-o', join(place, 'layer.so'), join(import.meta.dirname, 'layer.c'), '-ldl', '-lpthread'];
    await promisify(execFile)('cc', ['-O1', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', ...sources]).catch(
      (thrown: NodeJS.ErrnoException) => {
        const text =
          'there is no C compiler to build test/support/power/layer.c with: as root: apt-get install gcc libc6-dev';
        throw thrown.code === 'ENOENT' ? new Error(text) : thrown;
      },
    );
    const level = createRequire(import.meta.url).resolve('classic-level');
    await build({
      absWorkingDir: root,
      entryPoints: [join(import.meta.dirname, 'writer.ts')],
      outfile: join(place, 'writer.mjs'),
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
      alias: { 'classic-level': level },
      external: [level],
      logLevel: 'warning',
    });
    return new PowerBench(place);
  }

  /** Runs the writer until the power goes: what it said, line by line, and the trace of what it did. */
  async run({
    directory,
    seed,
    firstSerial,
    messages,
    buffer,
    at,
    rare,
  }: Run): Promise<{ said: string[]; trace: Buffer }> {
    const trace = `${directory}.trace`;
    const writer = [join(this.#place, 'writer.mjs'), join(directory, 'state'), seed, firstSerial, messages, buffer];
    const child = spawn(process.execPath, writer.map(String), {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 60_000,
      env: {
        LD_PRELOAD: join(this.#place, 'layer.so'),
        POWER_DIRECTORY: directory,
        POWER_TRACE: trace,
        POWER_CUT_AT: String(at),
        POWER_CUT_RARE: rare ? '1' : '0',
        POWER_SEED: String(seed),
      },
    });
    this.#children.add(child);
    let output = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text;
    });
    const [code, signal] = await once(child, 'close');
    this.#children.delete(child);
    if (signal !== 'SIGKILL' || errors !== '') throw new Error(`the writer ended with ${signal ?? code}: ${errors}`);
    const traced = await readFile(trace);
    await rm(trace);
    // a line that the end cut short was not said
    return { said: output.split('\n').slice(0, -1), trace: traced };
  }

  /** Ends the writers that still run. */
  async stop(): Promise<void> {
    for (const child of this.#children) {
      child.kill('SIGKILL');
      await once(child, 'close');
    }
  }
}
