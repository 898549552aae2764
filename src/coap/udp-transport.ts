import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { HoldfastError, reasonOf } from '../base/index.ts';
import type { Transport, TransportListener } from './transport.ts';

/** An address to listen at. */
export interface UdpAddress {
  /** An IP literal without brackets. `::` takes IPv4 too, unless an IPv4 address is listened at on the same port. */
  readonly address: string;
  /** 0: any free one. */
  readonly port: number;
  /** A descriptor that is bound to it already, and that the service manager goes on holding. */
  readonly fd?: number;
}

export interface UdpOptions extends UdpAddress {
  /** Default: true for any address but `::`. */
  readonly ipv6Only?: boolean;
  /** The kernel's receive buffer, bytes; it may give less (`net.core.rmem_max`). */
  readonly receiveBuffer?: number;
}

const defaultReceiveBuffer = 2 * 1024 * 1024;

/** CoAP over UDP at one address. Joins no multicast group. */
export class UdpTransport implements Transport {
  readonly secure = false;
  readonly held: boolean;
  readonly #options: UdpOptions;
  readonly #ipv6: boolean;
  #socket: Socket | undefined;

  constructor(options: UdpOptions) {
    this.#options = options;
    this.held = options.fd !== undefined;
    this.#ipv6 = options.address.includes(':');
  }

  /** With the port in use, once started. */
  get url(): string {
    const { address } = this.#options;
    return `coap://${this.#ipv6 ? `[${address}]` : address}:${this.port}`;
  }

  /** The port in use, once started. */
  get port(): number {
    return this.#socket?.address().port ?? this.#options.port;
  }

  start(listener: TransportListener): Promise<void> {
    const { address, port, fd, receiveBuffer = defaultReceiveBuffer } = this.#options;
    const ipv6Only = this.#options.ipv6Only ?? address !== '::';
    const family = this.#ipv6 ? 6 : 4;
    const socket = createSocket({
      type: this.#ipv6 ? 'udp6' : 'udp4',
      ...(this.#ipv6 ? { ipv6Only } : {}),
      // the buffer of a socket that is held is its unit's choice, and may be larger than this process could ask for
      ...(fd === undefined ? { recvBufferSize: receiveBuffer } : {}),
      // Peers are IP literals: nothing to look up. Saves a quarter of the cost of a send.
      lookup: (host, _options, done) => done(null, host, family),
    });
    socket.on('message', (datagram: Buffer, from: RemoteInfo) =>
      listener.received(datagram, from.family === 'IPv6' ? plainAddress(from.address) : from.address, from.port),
    );
    return new Promise((resolve, reject) => {
      const refused = (reason: Error) => {
        socket.close();
        reject(
          new HoldfastError('start_failed', `cannot listen at ${this.url}: ${reasonOf(reason)}`, { cause: reason }),
        );
      };
      socket.once('error', refused);
      socket.bind(fd === undefined ? { address, port, exclusive: true } : { fd, exclusive: true }, () => {
        socket.off('error', refused);
        socket.on('error', (reason) => listener.failed(reason));
        this.#socket = socket;
        resolve();
      });
    });
  }

  send(datagram: Uint8Array, address: string, port: number): void {
    const to = this.#ipv6 && !address.includes(':') ? `::ffff:${address}` : address;
    this.#socket?.send(datagram, 0, datagram.length, port, to);
  }

  pause(): void {
    if (this.#socket !== undefined) receivingOf(this.#socket)?.recvStop?.();
  }

  stop(): Promise<void> {
    const socket = this.#socket;
    this.#socket = undefined;
    return new Promise((resolve) => {
      if (socket === undefined) resolve();
      else socket.close(() => resolve());
    });
  }
}

/** Node.js has no public way to stop reading from a socket; without this one it is read on. */
function receivingOf(socket: Socket): { recvStop?(): number } | undefined {
  const inside = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'state symbol');
  if (inside === undefined) return undefined;
  return (socket as unknown as Record<symbol, { handle?: { recvStop?(): number } } | undefined>)[inside]?.handle;
}

/** The transports for several addresses, which share ports where IPv4 and IPv6 are both listened at. */
export function udpTransports(addresses: readonly UdpAddress[], receiveBuffer = defaultReceiveBuffer): UdpTransport[] {
  const ipv4Ports = new Set(addresses.filter(({ address }) => !address.includes(':')).map(({ port }) => port));
  return addresses.map(
    (one) =>
      new UdpTransport({
        ...one,
        receiveBuffer,
        ipv6Only: one.address !== '::' || ipv4Ports.has(one.port),
      }),
  );
}

function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}
