import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Running, run } from './process.ts';

/** A directory of the test's own, and what removes it. */
export function scratch(): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), 'holdfast-e2e-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** A mosquitto on a loopback port, to be stopped and started. */
export class Mosquitto {
  readonly port: number;
  readonly #config: string;
  #running: Running | undefined;

  /** `persistent`: it keeps sessions and messages over a SIGTERM. `extra`: more lines of configuration. */
  constructor(port: number, directory: string, { persistent = false, extra = '' } = {}) {
    this.port = port;
    this.#config = join(directory, `mosquitto-${port}.conf`);
    writeFileSync(
      this.#config,
      `listener ${port} 127.0.0.1\nallow_anonymous true\npersistence ${persistent}\npersistence_location ${directory}/\nmax_queued_messages 0\nmax_inflight_messages 0\nuser root\n${extra}`,
    );
  }

  async start(): Promise<void> {
    this.#running = new Running('/usr/sbin/mosquitto', ['-c', this.#config]);
    await this.#running.outputs(/mosquitto version .* running/);
  }

  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.#running?.kill(signal);
  }

  get pid(): number {
    return this.#running?.child.pid ?? 0;
  }
}

/** `mosquitto_sub` on `port`; each message is a line `topic payload`. */
export async function subscriber(port: number, filter: string, extra: readonly string[] = []): Promise<Running> {
  const running = new Running('stdbuf', [
    '-oL',
    'mosquitto_sub',
    '-h',
    '127.0.0.1',
    '-p',
    `${port}`,
    '-t',
    filter,
    '-v',
    '-d',
    '-q',
    '1',
    ...extra,
  ]);
  await running.outputs(/Subscribed \(mid/);
  return running;
}

export async function publish(
  port: number,
  topic: string,
  payload: string,
  extra: readonly string[] = [],
): Promise<{ output: string; code: number | string }> {
  return run('mosquitto_pub', ['-h', '127.0.0.1', '-p', `${port}`, '-t', topic, '-m', payload, ...extra]);
}

export const coapClient: string =
  ['/usr/bin/coap-client-notls', '/usr/bin/coap-client', '/usr/bin/coap-client-openssl'].find((path) =>
    existsSync(path),
  ) ?? 'coap-client';
