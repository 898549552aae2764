import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');

/** Starts a program and waits for `ready` in what it prints. */
export async function start(command, args, ready, env = process.env) {
  const begun = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
  const running = { child, output: '', readyAfter: 0 };
  await new Promise((resolve, reject) => {
    const check = (text) => {
      running.output += text;
      if (ready.test(running.output)) {
        running.readyAfter ||= performance.now() - begun;
        resolve();
      }
    };
    child.stdout.setEncoding('utf8').on('data', check);
    child.stderr.setEncoding('utf8').on('data', check);
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`${command} ended (${code}):\n${running.output}`)));
  });
  return running;
}

export async function stop(running, signal = 'SIGTERM') {
  if (running.child.exitCode !== null || running.child.signalCode !== null) return;
  running.child.removeAllListeners('exit');
  running.child.kill(signal);
  await once(running.child, 'exit');
}

/** The built daemon with a configuration of the bench's own. */
export async function startDaemon(directory, toml) {
  const config = join(directory, 'holdfast.toml');
  const stateDir = join(directory, 'state');
  writeFileSync(config, `state_dir = "${stateDir}"\n${toml}`);
  const running = await start(join(root, 'dist/holdfast.js'), ['run', '--config', config], /holdfast is ready/, {
    ...process.env,
    NOTIFY_SOCKET: '',
  });
  return { ...running, stateDir };
}

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

/** Runs the CoAP load in a process of its own; its figures. */
export async function load(options) {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'coap-load.js'), JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (data) => {
    text += data;
  });
  await once(child, 'close');
  return JSON.parse(text);
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

/** Resident memory of a process, bytes; CPU it used, seconds. */
export function resident(pid) {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
}

export function cpuSeconds(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

/** `median (least to most)`. */
export function spread(values, digits = 2) {
  return `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)} to ${Math.max(...values).toFixed(digits)})`;
}

export const megabytes = (bytes) => `${(bytes / 1_000_000).toFixed(1)} MB`;
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export const benchRoot = import.meta.dirname;
