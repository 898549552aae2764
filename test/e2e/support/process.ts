import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

/** A program under test or a peer: its output so far, and an end by pid. */
export class Running {
  readonly child: ChildProcess;
  readonly name: string;
  output = '';
  readonly #waiting = new Set<() => void>();

  constructor(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env) {
    this.name = command;
    this.child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env });
    this.child.stdin?.on('error', () => undefined);
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
        for (const wake of [...this.#waiting]) wake();
      });
    }
    this.child.on('error', (error) => {
      this.output += `${command}: ${error.message}`;
    });
    this.child.once('exit', () => {
      for (const wake of [...this.#waiting]) wake();
    });
  }

  get exited(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  /** Resolved once `holds` is true of the output; rejected when the program ends before, or after `ms`. */
  outputs(holds: RegExp | ((output: string) => boolean), ms = 20_000): Promise<string> {
    const test = holds instanceof RegExp ? (text: string) => holds.test(text) : holds;
    return new Promise((resolve, reject) => {
      const finish = (error?: Error) => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        if (error === undefined) resolve(this.output);
        else reject(error);
      };
      const check = () => {
        if (test(this.output)) finish();
        else if (this.exited)
          finish(new Error(`${this.name} ended (${this.child.exitCode}) before ${holds}:\n${this.output}`));
      };
      const timer = setTimeout(() => finish(new Error(`${this.name} did not print ${holds}:\n${this.output}`)), ms);
      this.#waiting.add(check);
      check();
    });
  }

  /** The exit code, or the signal's name. */
  async end(): Promise<number | string> {
    if (!this.exited) await once(this.child, 'exit');
    return this.child.exitCode ?? this.child.signalCode ?? '';
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | string> {
    if (!this.exited) this.child.kill(signal);
    return this.end();
  }
}

/** Runs a program to its end; its output and exit code. */
export async function run(
  command: string,
  args: readonly string[],
  input = '',
): Promise<{ output: string; code: number | string }> {
  const running = new Running(command, args);
  running.child.stdin?.end(input);
  const code = await running.end();
  await Promise.all(
    [running.child.stdout, running.child.stderr].map((s) => (s?.readableEnded === false ? once(s, 'end') : undefined)),
  );
  return { output: running.output, code };
}
