import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Running } from './process.ts';

/**
 * An ejabberd on a loopback port as an MQTT 5 broker: QoS 2, a Topic Alias Maximum and a Server Keep Alive of its own, no
 * Receive Maximum. Who connects says a user name `…@localhost`, and any password is right. Sessions are in memory and gone
 * with it, those of the gateway too. One process, ended by SIGTERM, that talks to no other node.
 */
export class Ejabberd {
  readonly port: number;
  readonly #arguments: readonly string[];
  #running: Running | undefined;

  constructor(port: number, directory: string) {
    this.port = port;
    const config = join(directory, `ejabberd-${port}.yml`);
    writeFileSync(
      config,
      'hosts: [localhost]\nloglevel: info\nauth_method: anonymous\nanonymous_protocol: login_anon\n' +
        `listen: [{ port: ${port}, ip: "127.0.0.1", module: mod_mqtt, backlog: 1000 }]\n` +
        'modules: { mod_mqtt: { session_expiry: 1 hour, max_queue: unlimited } }\n',
    );
    const state = join(directory, `ejabberd-${port}`);
    mkdirSync(state);
    const code = readdirSync('/usr/lib')
      .filter((name) => name.endsWith('-linux-gnu'))
      .flatMap((name) => readdirSync(join('/usr/lib', name)).map((entry) => join('/usr/lib', name, entry, 'ebin')))
      .filter((path) => /\/ejabberd-[^/]+\/ebin$/.test(path) && existsSync(join(path, 'ejabberd.app')));
    this.#arguments = ['-noinput', ...code.flatMap((path) => ['-pa', path])].concat(
      ['-mnesia', 'dir', `"${join(state, 'mnesia')}"`],
      ['-ejabberd', 'config', `"${config}"`, 'log_path', `"${join(state, 'ejabberd.log')}"`, '-s', 'ejabberd'],
    );
  }

  async start(): Promise<void> {
    if (!existsSync('/usr/bin/erl')) throw new Error('ejabberd is missing: apt-get install ejabberd');
    this.#running = new Running('/usr/bin/erl', this.#arguments);
    await this.#running.outputs(/Start accepting TCP connections/);
  }

  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.#running?.kill(signal);
  }

  get pid(): number {
    return this.#running?.child.pid ?? 0;
  }
}
