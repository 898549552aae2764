import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { Clock } from '../base/index.ts';
import { RequestLineRepair } from './request-line.ts';

/** After the last answer, how long a client may take to close; until then what it still sends is thrown away. */
const lingering = 2_000;

/**
 * A connection as node:http sees it: its request lines are repaired on the way in. Once the server is through with it, the
 * client still gets to read the answer (closing at once would reset the connection under it while it sends). It has no
 * timers of its own, so node:http arms none: the server looks after idle ones.
 */
export class RepairedSocket extends Duplex {
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #repair = new RequestLineRepair();
  #ended = false;
  /** Monotonic time of the last bytes that came or went. */
  lastActive: number;
  /** Requests under way on it. */
  requests = 0;

  constructor(socket: Socket, clock: Clock) {
    super({ allowHalfOpen: true, decodeStrings: false });
    this.#socket = socket;
    this.#clock = clock;
    this.lastActive = clock.monotonic();
    socket.on('data', (chunk: Buffer) => {
      this.lastActive = clock.monotonic();
      if (this.#ended) return;
      const repaired = this.#repair.push(chunk);
      if (repaired.length > 0 && !this.push(repaired)) socket.pause();
    });
    socket.on('end', () => this.push(null));
    socket.on('error', (error) => this.destroy(error));
    socket.on('close', () => this.destroy());
    // whoever listens for errors of this one is not always there yet, or not any more
    this.on('error', () => undefined);
  }

  get remoteAddress(): string | undefined {
    return this.#socket.remoteAddress;
  }

  get encrypted(): boolean {
    return 'encrypted' in this.#socket && this.#socket.encrypted === true;
  }

  /** All bytes of the request under way have been read: the next ones begin another. */
  nextRequest(): void {
    this.#repair.nextRequest();
  }

  /** Ends it now, lingering or not. */
  cut(): void {
    this.#socket.destroy();
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer | string, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, encoding, this.#written(done));
  }

  override _writev(
    chunks: { chunk: Buffer | string; encoding: BufferEncoding }[],
    done: (error?: Error | null) => void,
  ): void {
    this.#socket.cork();
    for (const [at, { chunk, encoding }] of chunks.entries()) {
      if (at === chunks.length - 1) this.#socket.write(chunk, encoding, this.#written(done));
      else this.#socket.write(chunk, encoding);
    }
    this.#socket.uncork();
  }

  #written(done: (error?: Error | null) => void): (error?: Error | null) => void {
    return (error) => {
      this.lastActive = this.#clock.monotonic();
      done(error);
    };
  }

  override _final(done: () => void): void {
    this.#ended = true;
    this.#socket.end();
    this.#socket.resume();
    const timer = this.#clock.after('REST connection closes', lingering, () => this.#socket.destroy());
    this.#socket.once('close', () => timer.cancel());
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // ended in order: the other side closes, or the timer does
    if (error !== null || !this.#ended) this.#socket.destroy();
    done(error);
  }
}
