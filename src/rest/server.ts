import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type Clock, HoldfastError, reasonOf, type Service, type Timer } from '../base/index.ts';
import type { LoginThrottle, PasswordCheck } from '../connections/index.ts';
import type { Health, Logger, Metrics } from '../telemetry/index.ts';
import { RequestHandler } from './handler.ts';
import { pagesOf } from './pages.ts';
import type { Presence, Queries } from './queries.ts';
import { errorEnvelope } from './refusal.ts';
import { RepairedSocket } from './repaired-socket.ts';
import { hasBody } from './request-body.ts';
import type { ApiIdentity, Context, Publisher } from './route.ts';
import { routes } from './routes/index.ts';
import type { StatusSource } from './status-page.ts';
import { ZonedTime } from './zoned-time.ts';

export interface RestListen {
  readonly host: string;
  /** 0 = any free one. */
  readonly port: number;
  /** PEM files; without them it is plain HTTP. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string };
  readonly maxConnections: number;
  /** Default: see `defaultLimits`. */
  readonly limits?: Partial<HttpLimits>;
}

/** Milliseconds. */
export interface HttpLimits {
  readonly headersTimeout: number;
  readonly requestTimeout: number;
  readonly keepAliveTimeout: number;
  /** Between two signs of life of a connection that is in use. */
  readonly idleTimeout: number;
  /** How often idle ones are looked after, while there are any. */
  readonly checkInterval: number;
  /** How often Node.js looks for slow requests, connections or not. */
  readonly slowInterval: number;
  /** For what is under way when the server is stopped. */
  readonly stopTimeout: number;
}

const defaultLimits: HttpLimits = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 15_000,
  idleTimeout: 60_000,
  checkInterval: 1_000,
  slowInterval: 5_000,
  stopTimeout: 5_000,
};
const maxHeaderBytes = 16_384;
const maxHeaders = 64;
const requestsPerConnection = 10_000;

export interface RestDeps {
  readonly listen: RestListen;
  readonly queries: Queries;
  readonly presence: Presence;
  readonly publisher: Publisher;
  readonly tokens: Context['tokens'];
  readonly throttle: LoginThrottle;
  readonly passwords: PasswordCheck;
  readonly identity: ApiIdentity;
  /** IANA name; default: the system's. */
  readonly timeZone: string | undefined;
  /** Bytes. */
  readonly maxPayload: number;
  readonly status: () => StatusSource;
  readonly metrics: Metrics;
  readonly health: Health;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly version: string;
  /** Whether devices leave little time for queries. */
  readonly busy: () => boolean;
}

/** The HTTP listener: the API, and the pages beside it. */
export class RestServer implements Service {
  readonly name = 'REST API';
  readonly #listen: RestListen;
  readonly #limits: HttpLimits;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #handler: RequestHandler;
  readonly #sockets = new Set<RepairedSocket>();
  /** Those whose TLS handshake is under way included. */
  readonly #accepted = new Set<Socket>();
  readonly #dropped;
  readonly #malformed;
  #server: Server | undefined;
  /** Requests under way. */
  #busy = 0;
  #idle: (() => void) | undefined;
  #stopping = false;
  #sweep: Timer | undefined;

  constructor(deps: RestDeps) {
    const { listen, metrics, logger, clock } = deps;
    this.#listen = listen;
    this.#limits = { ...defaultLimits, ...listen.limits };
    this.#clock = clock;
    this.#logger = logger;
    this.#handler = new RequestHandler({
      routes,
      pages: pagesOf(deps, routes),
      context: { ...deps, zone: new ZonedTime(deps.timeZone) },
      logger,
      metrics,
      busy: deps.busy,
    });
    metrics.gauge('holdfast_rest_connections', 'HTTP connections.', () => this.#sockets.size);
    this.#dropped = metrics.counter('holdfast_rest_connections_refused_total', 'HTTP connections above the limit.');
    this.#malformed = metrics.counter('holdfast_rest_malformed_total', 'What was no HTTP request, or came too slowly.');
  }

  /** Where it listens, as a URL; the real port once started. */
  get url(): string {
    const address = this.#server?.address();
    const port = typeof address === 'object' && address !== null ? address.port : this.#listen.port;
    const host = this.#listen.host.includes(':') ? `[${this.#listen.host}]` : this.#listen.host;
    return `${this.#listen.tls === undefined ? 'http' : 'https'}://${host}:${port}`;
  }

  async start(): Promise<void> {
    const server = this.#create();
    this.#server = server;
    server.maxConnections = this.#listen.maxConnections;
    server.maxHeadersCount = maxHeaders;
    server.maxRequestsPerSocket = requestsPerConnection;
    server.on('drop', () => this.#dropped.add());
    server.on('request', (request, response) => this.#take(request, response, false));
    server.on('checkContinue', (request, response) => this.#take(request, response, true));
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => this.#refuse(error, socket));
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => {
        reject(new HoldfastError('start_failed', `cannot listen on ${this.url}: ${error.message}`, { cause: error }));
      });
      server.listen({ host: this.#listen.host, port: this.#listen.port }, () => resolve());
    });
    server.on('error', (error) => this.#logger.warn({ reason: error.message }, 'the listener failed for a moment'));
    this.#logger.info({ url: this.url }, 'listening');
    if (this.#listen.tls === undefined && !/^(?:127\.|::1$|localhost$)/.test(this.#listen.host)) {
      this.#logger.warn({ url: this.url }, 'the REST API is not encrypted: tokens can be read on the way');
    }
  }

  /** Takes no more, finishes what is under way within its time, closes the rest. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#stopping = true;
    this.#sweep?.cancel();
    this.#sweep = undefined;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeIdleConnections();
    if (this.#busy > 0) await this.#finished();
    for (const socket of this.#accepted) socket.destroy();
    await closed;
  }

  #cutIdle(): void {
    const now = this.#clock.monotonic();
    const { keepAliveTimeout, idleTimeout } = this.#limits;
    for (const socket of this.#sockets) {
      if (now - socket.lastActive > (socket.requests > 0 ? idleTimeout : keepAliveTimeout)) socket.cut();
    }
    if (this.#sockets.size > 0) return;
    this.#sweep?.cancel();
    this.#sweep = undefined;
  }

  #finished(): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#clock.after('REST requests finish', this.#limits.stopTimeout, () => {
        this.#logger.warn({ requests: this.#busy }, 'requests were cut off');
        resolve();
      });
      this.#idle = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  #create(): Server {
    const { tls } = this.#listen;
    const { headersTimeout, requestTimeout, keepAliveTimeout, slowInterval } = this.#limits;
    const options: ServerOptions = {
      headersTimeout,
      requestTimeout,
      keepAliveTimeout,
      connectionsCheckingInterval: slowInterval,
      maxHeaderSize: maxHeaderBytes,
      noDelay: true,
      // whatever host a client thinks that it talks to: nothing hangs on it
      requireHostHeader: false,
    };
    if (tls === undefined) return this.#repairing(createServer(options), 'connection');
    let files: { cert: Buffer; key: Buffer };
    try {
      files = { cert: readFileSync(tls.certFile), key: readFileSync(tls.keyFile) };
      const secure = { ...options, ...files, minVersion: 'TLSv1.2', handshakeTimeout: headersTimeout } as const;
      return this.#repairing(createSecureServer(secure), 'secureConnection');
    } catch (thrown) {
      throw new HoldfastError('start_failed', `the certificate of ${this.url} cannot be used: ${reasonOf(thrown)}`, {
        cause: thrown,
      });
    }
  }

  /** Puts the repair of request lines between a server's connections and its parser. */
  #repairing(server: Server, event: 'connection' | 'secureConnection'): Server {
    const parsers = server.listeners(event);
    server.removeAllListeners(event);
    server.on('connection', (socket: Socket) => {
      this.#accepted.add(socket);
      socket.once('close', () => this.#accepted.delete(socket));
    });
    server.on(event, (socket: Socket) => {
      const repaired = new RepairedSocket(socket, this.#clock);
      this.#sockets.add(repaired);
      this.#sweep ??= this.#clock.every('idle REST connections', this.#limits.checkInterval, () => this.#cutIdle());
      socket.once('close', () => this.#sockets.delete(repaired));
      for (const parser of parsers) parser.call(server, repaired);
    });
    return server;
  }

  #take(request: IncomingMessage, response: ServerResponse, expects: boolean): void {
    const socket = request.socket as unknown as RepairedSocket;
    if (hasBody(request)) request.once('end', () => socket.nextRequest());
    else socket.nextRequest();
    if (this.#stopping) response.setHeader('Connection', 'close');
    this.#busy += 1;
    socket.requests += 1;
    const over = new Promise<void>((resolve) => response.once('close', () => resolve()));
    const handled = this.#handler.handle(request, response, expects).catch((thrown: unknown) => {
      this.#logger.error({ reason: reasonOf(thrown) }, 'a request could not be answered');
      response.destroy();
    });
    void Promise.all([over, handled]).then(() => {
      this.#busy -= 1;
      socket.requests -= 1;
      if (this.#busy === 0) this.#idle?.();
    });
  }

  /** Bytes that are no HTTP, or that came too slowly. */
  #refuse(error: NodeJS.ErrnoException, socket: Duplex): void {
    // no RepairedSocket: the TLS handshake failed
    const answering = !(socket instanceof RepairedSocket) || socket.requests > 0;
    if (answering || error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    this.#malformed.add();
    const [status, text] = statusLines[error.code ?? ''] ?? ['400 Bad Request', 'bad request'];
    const body = errorEnvelope(Number(status.slice(0, 3)), text);
    socket.end(
      `HTTP/1.1 ${status}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    );
  }
}

const statusLines: Readonly<Record<string, readonly [string, string]>> = {
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'header too large'],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'request timeout'],
};
