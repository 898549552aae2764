import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { join } from 'node:path';
import { environment, nodeFlags } from '../bundle.js';
import { cpuSeconds, pause, written } from './measure.js';

const root = join(import.meta.dirname, '../..');
export const daemonPath = join(root, 'dist/holdfast.js');
/** As the launcher has it. */
const allocator = Object.fromEntries(environment.map((one) => one.split('=')));

/**
 * What a scenario is handed: programs that run (each ends with the bench, however that ends, and at the end of its
 * scenario), the daemon, the generators. `quick`: shorter times, fewer rounds, smaller numbers.
 */
export class Bench {
  #running = new Set();
  /** Runs in which the generator was busy for nine tenths of the time or more: it may have been what was measured. */
  saturated = [];

  constructor({ directory, tools, peers, quick, pin, soakMinutes }) {
    this.directory = directory;
    this.tools = tools;
    this.peers = peers;
    this.quick = quick;
    this.pin = pin;
    this.soakMinutes = soakMinutes;
  }

  /** The full number, or the one for `--quick`. */
  pick(full, quick) {
    return this.quick ? quick : full;
  }

  /** A directory of its own. */
  place(name) {
    return mkdtempSync(join(this.directory, `${name}-`));
  }

  /** Starts a program and waits, 60 s at most, for `ready` in what it prints; with `--pin` it gets core 1. */
  async start(command, args, ready, env = {}) {
    const core = this.pin ? ['-c', '1'] : [];
    const begun = performance.now();
    const child = spawn(this.tools.hold, [...core, command, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NOTIFY_SOCKET: '', ...env },
    });
    const running = { child, pid: child.pid, output: '', readyAfter: 0 };
    this.#running.add(running);
    await new Promise((resolve, reject) => {
      const late = setTimeout(
        () => reject(new Error(`${command} is not ready after 60 s:\n${running.output}`)),
        60_000,
      );
      const done = () => {
        clearTimeout(late);
        running.readyAfter ||= performance.now() - begun;
        resolve();
      };
      const check = (text) => {
        if (running.output.length < 100_000) running.output += text;
        if (running.readyAfter === 0 && ready?.test(running.output)) done();
      };
      child.stdout.setEncoding('utf8').on('data', check);
      child.stderr.setEncoding('utf8').on('data', check);
      child.once('error', reject);
      child.once('exit', (code, signal) => {
        clearTimeout(late);
        this.#running.delete(running);
        reject(new Error(`${command} ended (${code ?? signal}):\n${running.output}`));
      });
      if (ready === undefined) done();
    });
    return running;
  }

  /** Ends a program, after 20 s by force. */
  async stop(running, signal = 'SIGTERM') {
    this.#running.delete(running);
    if (running.child.exitCode !== null || running.child.signalCode !== null) return;
    const ended = once(running.child, 'exit');
    running.child.kill('SIGCONT');
    running.child.kill(signal);
    const late = setTimeout(() => running.child.kill('SIGKILL'), 20_000);
    await ended;
    clearTimeout(late);
  }

  /** Waits for the end of a program that ends by itself, `ms` at most; its exit code. */
  async ended(running, ms) {
    const late = setTimeout(() => running.child.kill('SIGKILL'), ms);
    if (running.child.exitCode === null && running.child.signalCode === null) await once(running.child, 'close');
    clearTimeout(late);
    return running.child.exitCode ?? running.child.signalCode;
  }

  /** Ends what a scenario has left. */
  async stopAll() {
    for (const running of [...this.#running]) await this.stop(running, 'SIGKILL');
  }

  /** The built daemon, with the flags of the packages and a configuration of the bench's own. `flags`: more for Node.js. */
  async daemon(toml, { place = this.place('daemon'), flags = [], env = {} } = {}) {
    const stateDir = join(place, 'state');
    mkdirSync(stateDir, { recursive: true });
    const config = join(place, 'holdfast.toml');
    writeFileSync(config, `state_dir = "${stateDir}"\n${toml}`);
    const args = [...nodeFlags, ...flags, daemonPath, 'run', '--config', config];
    const running = await this.start(process.execPath, args, /holdfast is ready/, { ...allocator, ...env });
    return Object.assign(running, { place, stateDir });
  }

  /** A generator under way: `ready` and `figures` are promises, `end()` has it print its figures now. */
  generate(tool, options) {
    const args = Object.entries(options).map(([key, value]) => `${key}=${value}`);
    const child = spawn(this.tools.hold, [...(this.pin ? ['-c', '0'] : []), this.tools[tool], ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const running = { child, pid: child.pid, output: '' };
    this.#running.add(running);
    let said = '';
    const isReady = new Promise((resolve, reject) => {
      child.stdout.setEncoding('utf8').on('data', (data) => {
        said += data;
        if (said.includes('\n')) resolve(JSON.parse(said.slice(0, said.indexOf('\n'))));
      });
      child.once('close', () => reject(new Error(`${tool} ${args.join(' ')}: ${running.output}`)));
    });
    child.stderr.setEncoding('utf8').on('data', (data) => {
      running.output += data;
    });
    const figures = once(child, 'close').then(([code]) => {
      this.#running.delete(running);
      const [, last = ''] = said.trimEnd().split('\n');
      if (code !== 0 || last === '') throw new Error(`${tool} ${args.join(' ')} ended (${code}): ${running.output}`);
      return JSON.parse(last);
    });
    // whoever waits for one of them sees the error
    isReady.catch(() => undefined);
    figures.catch(() => undefined);
    return { pid: child.pid, ready: isReady, figures, end: () => child.kill('SIGTERM') };
  }

  /** A CoAP load, to its end. */
  load(options) {
    return this.generate('coap-load', options).figures;
  }

  /**
   * A load on `server`, with what that used: `cpuUs` and `kilobytes` (to the disk) for each of what `per` counts. Throws where
   * there were errors.
   */
  async measured(server, tool, options, per = (result) => result.done) {
    const running = this.generate(tool, options);
    await running.ready;
    const before = cpuSeconds(server.pid);
    const bytes = written(server.pid);
    const result = await running.figures;
    const used = cpuSeconds(server.pid) - before;
    if (result.cpuShare >= 0.9) this.saturated.push(`${tool} ${JSON.stringify(options)}: ${result.cpuShare} of a core`);
    if (result.errors > 0)
      throw new Error(
        `${result.errors} errors: ${JSON.stringify(result.refused)} of ${server.child.spawnargs.join(' ')}`,
      );
    if (per(result) === 0) throw new Error(`nothing was done: ${JSON.stringify(result)}`);
    const kilobytes = (written(server.pid) - bytes) / 1_000 / per(result);
    return { ...result, serverCpu: used, cpuUs: (used / per(result)) * 1e6, kilobytes };
  }

  /**
   * Rounds of one run for each contender, in turn, after a round that does not count: what each gave, a list by name.
   * `run(name, warming)`.
   */
  async alternate(rounds, names, run) {
    const seen = Object.fromEntries(names.map((name) => [name, []]));
    for (let round = -1; round < rounds; round++) {
      for (const name of names) {
        const result = await run(name, round < 0);
        if (round >= 0) seen[name].push(result);
      }
    }
    return seen;
  }
}

/** The answer to `status` of the daemon whose state is there. */
export function status(stateDir) {
  return new Promise((resolve, reject) => {
    const socket = createConnection(join(stateDir, 'control.sock'));
    let text = '';
    socket.setEncoding('utf8').on('data', (data) => {
      text += data;
    });
    socket.on('error', reject);
    socket.on('close', () => (text === '' ? reject(new Error('no answer')) : resolve(JSON.parse(text))));
    socket.write('status\n');
  });
}

/** Waits until `condition` gives something, a minute at most; what it gave. */
export async function until(what, condition, ms = 60_000) {
  for (const late = performance.now() + ms; performance.now() < late; await pause(20)) {
    const given = await condition();
    if (given) return given;
  }
  throw new Error(`not in time: ${what}`);
}

/** A port below the ephemeral range that is free for TCP and UDP: a load of ten thousand sockets cannot take it meanwhile. */
export async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    if (
      (await binds(createServer(), (server) => server.listen(port, '127.0.0.1'), 'listening')) &&
      (await binds(createSocket('udp4'), (socket) => socket.bind(port, '127.0.0.1'), 'listening'))
    )
      return port;
  }
}

function binds(endpoint, bind, event) {
  return new Promise((resolve) => {
    endpoint.once('error', () => resolve(false));
    endpoint.once(event, () => endpoint.close(() => resolve(true)));
    bind(endpoint);
  });
}
