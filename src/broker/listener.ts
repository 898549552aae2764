import { readFileSync } from 'node:fs';
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import type { Client } from 'aedes';
import { createWebSocketStream, WebSocketServer } from 'ws';
import { HoldfastError, type Service } from '../base/index.ts';
import type { Network } from '../domain/index.ts';
import type { Logger } from '../telemetry/index.ts';

export type MqttScheme = 'mqtt' | 'mqtts' | 'ws' | 'wss';

const networks: Readonly<Record<MqttScheme, Network>> = { mqtt: 'tcp', mqtts: 'ssl', ws: 'ws', wss: 'wss' };

/** One address to listen on. */
export interface MqttListenerOptions {
  readonly scheme: MqttScheme;
  readonly host: string;
  /** 0 = any free one. */
  readonly port: number;
  readonly maxConnections: number;
  /** Largest packet, bytes. */
  readonly maxPacket: number;
  /** Certificate and key for mqtts and wss. */
  readonly tls?: {
    readonly certFile: string;
    readonly keyFile: string;
    readonly caFile?: string;
    readonly clientCertificate: 'none' | 'optional' | 'required';
  };
}

/** What takes a connection over: aedes's `handle`. */
export type ConnectionHandler = (stream: Socket | ReturnType<typeof createWebSocketStream>, request?: never) => Client;

/** One MQTT listener: TCP, TLS, WebSocket or WebSocket over TLS. */
export class MqttListener implements Service {
  readonly name: string;
  readonly #options: MqttListenerOptions;
  readonly #handle: ConnectionHandler;
  readonly #logger: Logger;
  #server: Server | HttpServer | undefined;
  #webSockets: WebSocketServer | undefined;
  readonly #sockets = new Set<Socket>();

  constructor(options: MqttListenerOptions, handle: ConnectionHandler, logger: Logger) {
    this.#options = options;
    this.#handle = handle;
    this.#logger = logger;
    this.name = `${options.scheme} listener`;
  }

  /** Where it listens, as a URL; the real port once started. */
  get url(): string {
    const address = this.#server?.address();
    const port = typeof address === 'object' && address !== null ? address.port : this.#options.port;
    const host = this.#options.host.includes(':') ? `[${this.#options.host}]` : this.#options.host;
    return `${this.#options.scheme}://${host}:${port}`;
  }

  async start(): Promise<void> {
    const server = this.#create();
    this.#server = server;
    server.maxConnections = this.#options.maxConnections;
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => {
        reject(new HoldfastError('start_failed', `cannot listen on ${this.url}: ${error.message}`, { cause: error }));
      });
      server.listen({ host: this.#options.host, port: this.#options.port }, () => resolve());
    });
    server.on('error', (error) => this.#logger.warn({ reason: error.message }, 'the listener failed for a moment'));
    this.#logger.info({ url: this.url }, 'listening');
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

  #create(): Server | HttpServer {
    const { scheme } = this.#options;
    if (scheme === 'mqtt') return createServer((socket) => this.#accept(socket));
    if (scheme === 'mqtts') return createTlsServer(this.#tls(), (socket) => this.#accept(socket));
    const server = scheme === 'ws' ? createHttpServer() : createHttpsServer(this.#tls());
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
      const stream = createWebSocketStream(socket);
      stream.on('error', () => undefined);
      Object.assign(stream, { remoteAddress: request.socket.remoteAddress, remotePort: request.socket.remotePort });
      this.#accept(stream);
    });
    return server;
  }

  #accept(stream: Socket | ReturnType<typeof createWebSocketStream>): void {
    Object.assign(stream, { network: networks[this.#options.scheme] });
    limitPackets(this.#handle(stream), this.#options.maxPacket);
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
      minVersion: 'TLSv1.2',
    };
  }
}

interface Parser {
  readonly packet: { readonly length: number };
  _parseLength(): boolean;
  emit(event: 'error', error: Error): boolean;
}

/** Ends a connection that announces a packet above `max` bytes before a byte of it is gathered; aedes has no limit. */
function limitPackets(client: Client, max: number): void {
  const parser = (client as unknown as { _parser: Parser })._parser;
  const parseLength = parser._parseLength.bind(parser);
  parser._parseLength = () => {
    const complete = parseLength();
    if (complete && parser.packet.length > max) {
      parser.emit('error', new Error(`a packet of ${parser.packet.length} bytes, limit ${max}`));
      return false;
    }
    return complete;
  };
}
