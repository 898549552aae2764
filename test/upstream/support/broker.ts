import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as tcpConnect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import mqtt, { type MqttClient } from 'mqtt';
import { freePort } from '../../support/ports.ts';

/** Waits until `holds` does, looking every few milliseconds; fails after ten seconds. */
export async function until(holds: () => boolean, what = holds.toString()): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`never came true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A mosquitto process of the test's own, on a port of its own, that can be stopped and started again. */
export class Mosquitto {
  readonly port: number;
  readonly directory: string;
  readonly #config: string;
  #process: ChildProcess | undefined;

  private constructor(port: number, directory: string, config: string) {
    this.port = port;
    this.directory = directory;
    this.#config = config;
  }

  static async start(listener = '', global = '', directory?: string): Promise<Mosquitto> {
    const port = await freePort();
    const dir = directory ?? mkdtempSync(join(tmpdir(), 'holdfast-mosquitto-'));
    const config = join(dir, 'mosquitto.conf');
    writeFileSync(
      config,
      `per_listener_settings false
allow_anonymous true
persistence true
persistence_location ${dir}/
user root
${global}
listener ${port} 127.0.0.1
${listener}
`,
    );
    const broker = new Mosquitto(port, dir, config);
    await broker.up();
    return broker;
  }

  async up(): Promise<void> {
    const child = spawn('/usr/sbin/mosquitto', ['-c', this.#config], { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#process = child;
    let errors = '';
    child.stderr?.on('data', (chunk) => {
      errors += String(chunk);
    });
    const deadline = performance.now() + 10_000;
    while (!(await reachable(this.port))) {
      if (child.exitCode !== null || performance.now() > deadline) throw new Error(`mosquitto: ${errors}`);
    }
  }

  /** Ends the process: `SIGTERM` lets it save what it holds, `SIGKILL` does not. */
  async down(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null) return;
    child.kill(signal);
    await once(child, 'exit');
  }

  async remove(): Promise<void> {
    await this.down();
    rmSync(this.directory, { recursive: true, force: true });
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`;
  }

  /** An ordinary client, connected. */
  async client(options: mqtt.IClientOptions = {}): Promise<MqttClient> {
    return mqtt.connectAsync(this.url, { protocolVersion: 5, reconnectPeriod: 50, ...options });
  }
}

function reachable(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = tcpConnect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => setTimeout(() => resolve(false), 10));
  });
}
