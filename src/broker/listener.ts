import { readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, TLSSocket, type TlsOptions } from 'node:tls';
import { createWebSocketStream, WebSocketServer } from 'ws';
import { type Clock, HoldfastError, type Service, type Timer } from '../base/index.ts';
import type { Network } from '../domain/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { PacketLimits } from './strict-parser.ts';

export type MqttScheme = 'mqtt' | 'mqtts' | 'ws' | 'wss';

/** Milliseconds of silence after which TCP asks whether the peer is there. */
const tcpKeepAlive = 60_000;
const networks: Readonly<Record<MqttScheme, Network>> = { mqtt: 'tcp', mqtts: 'ssl', ws: 'ws', wss: 'wss' };

/** One address to listen on. */
export interface MqttListenerOptions extends PacketLimits {
  readonly scheme: MqttScheme;
  readonly host: string;
  /** 0 = any free one. */
  readonly port: number;
  readonly maxConnections: number;
  /** Certificate and key for mqtts and wss. */
  readonly tls?: {
    readonly certFile: string;
    readonly keyFile: string;
    readonly caFile?: string;
    readonly clientCertificate: 'none' | 'optional' | 'required';
    /** A client with a certificate is who its common name says. */
    readonly useIdentity: boolean;
  };
}

/** A connection over which MQTT comes. */
export type MqttStream = Socket | ReturnType<typeof createWebSocketStream>;

export interface ListenerDeps {
  /** Takes a connection over, with the bounds of its packets. */
  readonly handle: (stream: MqttStream, limits: PacketLimits) => void;
  /** Whether one more connection may be taken now; it is closed at once where not. */
  readonly admits: () => boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Milliseconds that TLS and the upgrade to a WebSocket may take. */
  readonly handshakeTimeout: number;
}

/** One MQTT listener: TCP, TLS, WebSocket or WebSocket over TLS. */
export class MqttListener implements Service {
  readonly name: string;
  readonly #options: MqttListenerOptions;
  readonly #deps: ListenerDeps;
  #server: Server | undefined;
  #webSockets: WebSocketServer | undefined;
  readonly #sockets = new Set<Socket>();
  /** Of sockets that are closed. */
  #bytes = { received: 0, sent: 0 };

  constructor(options: MqttListenerOptions, deps: ListenerDeps) {
    this.#options = options;
    this.#deps = deps;
    this.name = `${options.scheme} listener`;
  }

  /** Where it listens, as a URL; the real port once started. */
  get url(): string {
    const address = this.#server?.address();
    const port = typeof address === 'object' && address !== null ? address.port : this.#options.port;
    const host = this.#options.host.includes(':') ? `[${this.#options.host}]` : this.#options.host;
    return `${this.#options.scheme}://${host}:${port}`;
  }

  /** Bytes over all connections so far, TLS and WebSocket included. */
  get bytes(): { readonly received: number; readonly sent: number } {
    let { received, sent } = this.#bytes;
    for (const { bytesRead, bytesWritten } of this.#sockets) {
      received += bytesRead;
      sent += bytesWritten;
    }
    return { received, sent };
  }

  async start(): Promise<void> {
    const { admits, logger } = this.#deps;
    const proceed = this.#protocol();
    // in front of TLS and HTTP: what is refused costs next to nothing
    const server = createServer((socket) => {
      if (!admits()) return socket.destroy();
      this.#sockets.add(socket);
      // a peer that vanished without a word, and has keep-alive 0
      socket.setKeepAlive(true, tcpKeepAlive);
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      socket.once('close', () => {
        this.#sockets.delete(socket);
        this.#bytes.received += socket.bytesRead;
        this.#bytes.sent += socket.bytesWritten;
      });
      return proceed(socket);
    });
    this.#server = server;
    server.maxConnections = this.#options.maxConnections;
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => {
        reject(new HoldfastError('start_failed', `cannot listen on ${this.url}: ${error.message}`, { cause: error }));
      });
      server.listen({ host: this.#options.host, port: this.#options.port }, () => resolve());
    });
    server.on('error', (error) => logger.warn({ reason: error.message }, 'the listener failed for a moment'));
    logger.info({ url: this.url }, 'listening');
  }

  /** Closes the listener and what is still connected to it. */
  async stop(): Promise<void> {
    this.#webSockets?.close();
    const server = this.#server;
    if (server === undefined) return;
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      for (const socket of this.#sockets) socket.destroy();
    });
  }

  /** What takes a socket from TCP to MQTT. */
  #protocol(): (socket: Socket) => void {
    const { scheme } = this.#options;
    const { clock, handshakeTimeout } = this.#deps;
    if (scheme === 'mqtt') return (socket) => this.#accept(socket, socket);
    if (scheme === 'mqtts') {
      const secure = createTlsServer(this.#tls(), (socket) => this.#accept(socket, socket));
      secure.on('tlsClientError', (_error, socket) => socket.destroy());
      return (socket) => void secure.emit('connection', socket);
    }
    const server = scheme === 'ws' ? createHttpServer() : createHttpsServer(this.#tls());
    const upgrading = new WeakMap<Socket, Timer>();
    server.on(scheme === 'ws' ? 'connection' : 'secureConnection', (socket: Socket) => {
      const late = clock.after('websocket upgrade', handshakeTimeout, () => socket.destroy());
      upgrading.set(socket, late);
      socket.once('close', () => late.cancel());
    });
    server.on('request', (_request, response) => {
      response.writeHead(426, { connection: 'close' }).end();
    });
    this.#webSockets = new WebSocketServer({
      server,
      maxPayload: this.#options.maxPacket,
      perMessageDeflate: false,
      handleProtocols: (protocols) =>
        [...protocols].find((name) => name === 'mqtt' || name.startsWith('mqttv3')) ?? false,
    });
    this.#webSockets.on('error', () => undefined);
    this.#webSockets.on('connection', (socket, request) => {
      upgrading.get(request.socket)?.cancel();
      // MQTT-6.0.0-1; told before the stream is
      socket.on('message', (_data, isBinary) => {
        if (!isBinary) stream.destroy();
      });
      const stream = createWebSocketStream(socket);
      stream.on('error', () => undefined);
      Object.assign(stream, { remoteAddress: request.socket.remoteAddress, remotePort: request.socket.remotePort });
      this.#accept(stream, request.socket);
    });
    return (socket) => void server.emit('connection', socket);
  }

  /** `socket`: what the stream goes over. */
  #accept(stream: MqttStream, socket: Socket): void {
    const identity = this.#options.tls?.useIdentity === true ? identityOf(socket) : undefined;
    Object.assign(stream, { network: networks[this.#options.scheme], identity });
    this.#deps.handle(stream, this.#options);
  }

  #tls(): TlsOptions {
    const { tls } = this.#options;
    if (tls === undefined) throw new HoldfastError('start_failed', `${this.url} needs a certificate and a key`);
    return {
      cert: readFileSync(tls.certFile),
      key: readFileSync(tls.keyFile),
      ...(tls.caFile === undefined ? {} : { ca: readFileSync(tls.caFile) }),
      requestCert: tls.clientCertificate !== 'none',
      rejectUnauthorized: tls.clientCertificate === 'required',
      handshakeTimeout: this.#deps.handshakeTimeout,
      minVersion: 'TLSv1.2',
    };
  }
}

/** The common name in a certificate that was verified; undefined without one, '' where it has none or several. */
function identityOf(socket: Socket): string | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const name: unknown = socket.getPeerCertificate().subject?.CN;
  return typeof name === 'string' ? name : '';
}
