import { chmod, rm } from 'node:fs/promises';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { type Clock, reasonOf, type Service } from '../base/index.ts';
import type { Logger } from '../telemetry/index.ts';

/** What the command line may ask of a running daemon. */
export type ControlRequest = 'status' | 'reload_users';

const maxRequest = 64;
const maxAnswer = 4 * 1024 * 1024;
const patience = 5_000;

function socketPath(stateDir: string): string {
  return join(stateDir, 'control.sock');
}

/**
 * A local socket (`control.sock`, 0600, in the state directory) on which the command line asks the daemon: one request
 * word per connection, a line long; the answer is JSON. Who may read the state directory may ask.
 */
export class ControlSocket implements Service {
  readonly name = 'control socket';
  readonly #path: string;
  readonly #answer: (request: ControlRequest) => Promise<unknown>;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  constructor(
    stateDir: string,
    deps: { answer: (request: ControlRequest) => Promise<unknown>; logger: Logger; clock: Clock },
  ) {
    this.#path = socketPath(stateDir);
    this.#answer = deps.answer;
    this.#logger = deps.logger;
    this.#clock = deps.clock;
  }

  /** A socket that cannot be made is a warning: the gateway does its work without. */
  async start(): Promise<void> {
    const server = createServer((socket) => this.#accept(socket));
    server.maxConnections = 8;
    try {
      await rm(this.#path, { force: true });
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(this.#path, () => resolve());
      });
      await chmod(this.#path, 0o600);
      this.#server = server;
    } catch (thrown) {
      server.close();
      this.#logger.warn(
        { path: this.#path, reason: reasonOf(thrown) },
        '`holdfast status` will not work: no control socket',
      );
    }
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    const timer = this.#clock.after('control request', patience, () => socket.destroy());
    socket.on('close', () => {
      timer.cancel();
      this.#sockets.delete(socket);
    });
    socket.on('error', () => undefined);
    let text = '';
    socket.setEncoding('utf8').on('data', (data: string) => {
      text += data;
      const end = text.indexOf('\n');
      if (end === -1) {
        if (text.length > maxRequest) socket.destroy();
        return;
      }
      socket.removeAllListeners('data').resume();
      const request = text.slice(0, end);
      if (request !== 'status' && request !== 'reload_users') {
        socket.end(JSON.stringify({ error: 'unknown request' }));
        return;
      }
      this.#answer(request).then(
        (answer) => socket.end(JSON.stringify(answer)),
        (thrown: unknown) => socket.end(JSON.stringify({ error: reasonOf(thrown) })),
      );
    });
  }
}

/** Asks the daemon that runs on `stateDir`; undefined where none answers. */
export function askDaemon(stateDir: string, request: ControlRequest, clock: Clock): Promise<unknown> {
  return new Promise((resolve) => {
    const socket = createConnection(socketPath(stateDir));
    const timer = clock.after('control answer', patience, () => socket.destroy());
    let text = '';
    socket.setEncoding('utf8').on('data', (data: string) => {
      text += data;
      if (text.length > maxAnswer) socket.destroy();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      timer.cancel();
      try {
        resolve(JSON.parse(text));
      } catch {
        resolve(undefined);
      }
    });
    socket.write(`${request}\n`);
  });
}
