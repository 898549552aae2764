import { createSocket, type Socket } from 'node:dgram';
import { lookup } from 'node:dns';
import { HoldfastError, reasonOf } from '../../base/index.ts';

export interface DatagramListener {
  received(datagram: Buffer): void;
  /** The way to the server is broken, as far as this machine can tell: nobody listens there, for one. */
  failed(reason: HoldfastError): void;
}

/** Carries datagrams to one server and back. */
export interface Datagrams {
  /** @throws HoldfastError `unavailable` where the server's name is not known, or there is no way to it. */
  open(listener: DatagramListener): Promise<void>;
  /** A datagram that cannot be sent is lost, as on the way; `failed` may tell. */
  send(datagram: Uint8Array): void;
  close(): void;
}

/** UDP. The socket is connected: only so the system tells that nobody listens at the other end. */
export class UdpDatagrams implements Datagrams {
  readonly #host: string;
  readonly #port: number;
  #socket: Socket | undefined;

  /** `host`: a name, or an IP literal without brackets. */
  constructor(host: string, port: number) {
    this.#host = host;
    this.#port = port;
  }

  async open(listener: DatagramListener): Promise<void> {
    const { address, family } = await this.#resolved();
    const socket = createSocket(family === 6 ? 'udp6' : 'udp4');
    this.#socket = socket;
    await new Promise<void>((resolve, reject) => {
      socket.once('error', (thrown) => reject(failure(thrown)));
      socket.connect(this.#port, address, () => resolve());
    }).catch((thrown: unknown) => {
      this.close();
      throw thrown;
    });
    socket.removeAllListeners('error');
    socket.on('error', (thrown) => listener.failed(failure(thrown)));
    socket.on('message', (datagram: Buffer) => listener.received(datagram));
  }

  send(datagram: Uint8Array): void {
    // what went wrong comes as an event where it is worth telling
    this.#socket?.send(datagram, () => undefined);
  }

  close(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.removeAllListeners('message');
    socket?.close();
  }

  #resolved(): Promise<{ address: string; family: number }> {
    return new Promise((resolve, reject) => {
      // a name for both, such as localhost, more often has CoAP listened to at its IPv4 address
      lookup(this.#host, { order: 'ipv4first' }, (thrown, address, family) => {
        if (thrown === null) resolve({ address, family });
        else reject(new HoldfastError('unavailable', `${this.#host}: ${thrown.code ?? reasonOf(thrown)}`));
      });
    });
  }
}

function failure(thrown: Error & { readonly code?: string }): HoldfastError {
  const text = thrown.code === 'ECONNREFUSED' ? 'nobody listens there' : reasonOf(thrown);
  return new HoldfastError('unavailable', text);
}
