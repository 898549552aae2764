import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { Running } from './process.ts';

/** The built program. */
export const holdfast: string = join(import.meta.dirname, '../../../dist/holdfast.js');

export interface Status {
  readonly listeners: readonly string[];
  readonly clients: { readonly coap: number; readonly mqtt: number };
  readonly upstreams: readonly { readonly name: string; readonly state: string; readonly queuedMessages: number }[];
}

/** A daemon on a state directory that may be killed and started again. */
export class Daemon {
  readonly stateDir: string;
  readonly #config: string;
  #running: Running | undefined;

  readonly #program: string;

  /** `toml`: what the test adds to a configuration on free loopback ports. */
  constructor(directory: string, toml = '', program: string = holdfast) {
    this.#program = program;
    this.stateDir = join(directory, 'state');
    this.#config = join(directory, 'holdfast.toml');
    const listens = ['coap', 'mqtt', 'rest'].map((section) =>
      toml.includes(`[${section}]`)
        ? ''
        : `[${section}]\nlisten = ${section === 'rest' ? '""' : `["${section}://127.0.0.1:0"]`}\n`,
    );
    writeFileSync(this.#config, `state_dir = "${this.stateDir}"\n${toml}\n${listens.join('')}`);
  }

  get configFile(): string {
    return this.#config;
  }

  get pid(): number {
    return this.#running?.child.pid ?? 0;
  }

  get output(): string {
    return this.#running?.output ?? '';
  }

  async start(env: NodeJS.ProcessEnv = {}): Promise<void> {
    if (!existsSync(this.#program)) throw new Error('dist/holdfast.js is missing: run `npm run build`');
    this.#running = new Running(this.#program, ['run', '--config', this.#config], {
      ...process.env,
      NOTIFY_SOCKET: '',
      ...env,
    });
    await this.#running.outputs(/holdfast is ready/);
  }

  /** Starts it, whatever comes of that. */
  startAnyhow(): Running {
    this.#running = new Running(this.#program, ['run', '--config', this.#config], {
      ...process.env,
      NOTIFY_SOCKET: '',
    });
    return this.#running;
  }

  /** Starts it under another program, such as strace. */
  async startUnder(command: string, args: readonly string[]): Promise<void> {
    this.#running = new Running(command, [...args, holdfast, 'run', '--config', this.#config]);
    await this.#running.outputs(/holdfast is ready/);
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | string> {
    return this.#running?.kill(signal) ?? 0;
  }

  signal(signal: NodeJS.Signals): void {
    this.#running?.child.kill(signal);
  }

  waitFor(output: RegExp): Promise<string> {
    return this.#running?.outputs(output) ?? Promise.resolve('');
  }

  status(): Promise<Status> {
    return new Promise((resolve, reject) => {
      const socket = createConnection(join(this.stateDir, 'control.sock'));
      let text = '';
      socket.setEncoding('utf8').on('data', (data: string) => {
        text += data;
      });
      socket.on('error', reject);
      socket.on('close', () => (text === '' ? reject(new Error('no answer')) : resolve(JSON.parse(text) as Status)));
      socket.write('status\n');
    });
  }

  /** The port of the first listener whose URL starts with `scheme`. */
  async port(scheme: string): Promise<number> {
    const url = (await this.status()).listeners.find((one) => one.startsWith(`${scheme}://`));
    if (url === undefined) throw new Error(`no ${scheme} listener`);
    return Number(new URL(url.replace(/^[a-z]+/, 'http')).port || '80');
  }

  /** Resident memory, bytes. */
  get memory(): number {
    const line = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'));
    return Number(line?.[1] ?? 0) * 1024;
  }
}

/** Polls until `holds`; rejected after `ms`. */
export async function eventually(holds: () => boolean | Promise<boolean>, what: string, ms = 30_000): Promise<void> {
  const until = Date.now() + ms;
  while (!(await holds())) {
    if (Date.now() > until) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise<void>((resolve) => setTimeout(resolve, 20));
  }
}
