import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Running } from './process.ts';

/**
 * A nats-server on loopback ports as an MQTT broker: 3.1.1 alone (MQTT 5 and a bridge's CONNECT are refused by return code),
 * QoS 1 at most (it closes the connection on a PUBLISH with QoS 2), 1,024 messages unacknowledged by a subscriber; what is
 * not acknowledged is sent again after three seconds, on the same connection too. Sessions and messages are in a file
 * store, of which an end at a bad moment costs some. One process, ended by SIGTERM.
 */
export class NatsServer {
  readonly port: number;
  readonly #config: string;
  #running: Running | undefined;

  /** `clientPort`: for its own protocol, which nobody speaks to it here. */
  constructor(port: number, clientPort: number, directory: string) {
    this.port = port;
    this.#config = join(directory, `nats-${port}.conf`);
    writeFileSync(
      this.#config,
      `server_name: upstream\nlisten: "127.0.0.1:${clientPort}"\n` +
        `jetstream { store_dir: "${join(directory, `nats-${port}`)}", max_mem: 64MB, max_file: 4GB }\n` +
        `mqtt { listen: "127.0.0.1:${port}", ack_wait: "3s" }\n`,
    );
  }

  async start(): Promise<void> {
    this.#running = new Running('/usr/sbin/nats-server', ['-c', this.#config]);
    await this.#running.outputs(/Server is ready/);
  }

  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.#running?.kill(signal);
  }

  get pid(): number {
    return this.#running?.child.pid ?? 0;
  }
}
