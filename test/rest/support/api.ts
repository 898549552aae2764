import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemClock } from '../../../src/base/index.ts';
import { LoginThrottle, TokenStore } from '../../../src/connections/index.ts';
import { type HttpLimits, type RestDeps, RestServer } from '../../../src/rest/index.ts';
import { Health, type Logger, Metrics } from '../../../src/telemetry/index.ts';
import { type Passwords, plainPasswords } from '../../support/plain-passwords.ts';
import { FakePresence, FakePublisher, FakeQueries } from './fakes.ts';

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** The text as JSON, where it is. */
  readonly json: unknown;
}

export interface Api {
  readonly queries: FakeQueries;
  readonly presence: FakePresence;
  readonly publisher: FakePublisher;
  readonly metrics: Metrics;
  readonly health: Health;
  readonly tokens: TokenStore;
  readonly throttle: LoginThrottle;
  readonly server: RestServer;
  readonly port: number;
  /** An application token. */
  readonly token: string;
  /** What was logged: level, fields, text. */
  readonly lines: [string, Record<string, unknown>, string][];
  /** GET with the application token, or with other headers. */
  get(path: string, headers?: Readonly<Record<string, string>>): Promise<Answer>;
  post(path: string, body: unknown, headers?: Readonly<Record<string, string>>): Promise<Answer>;
  ask(
    method: string,
    path: string,
    headers?: Readonly<Record<string, string>>,
    body?: string | Buffer,
  ): Promise<Answer>;
  /** Bytes as they are over a connection of its own; what came until the server closed it. */
  raw(bytes: string | Buffer): Promise<string>;
  stop(): Promise<void>;
}

export const identity = {
  appId: 'app',
  applicationUuid: 'a7436027-8da1-47a0-934d-b523c665cb58',
  appClientId: 'YXA6p0NgJ42hR6CTTbUjxmXLWA',
  appClientSecret: 'YXA6j5Ie*Td3Nmgf8Y4IvkJ*9L_epPY',
};

/** The API on a free loopback port, over a past and a present that tests fill. */
export async function startApi(
  given: {
    clock?: Clock;
    limits?: Partial<HttpLimits>;
    maxConnections?: number;
    maxPayload?: number;
    passwords?: Passwords;
    timeZone?: string;
    tls?: { readonly certFile: string; readonly keyFile: string };
    deps?: Partial<RestDeps>;
  } = {},
): Promise<Api> {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-rest-'));
  const clock = given.clock ?? systemClock;
  const metrics = new Metrics();
  const health = new Health(clock);
  const lines: Api['lines'] = [];
  const logger = recorder(lines);
  const tokens = new TokenStore({
    path: join(directory, 'tokens.jsonl'),
    clock,
    quality: () => 'synced',
    logger,
    metrics,
  });
  await tokens.start();
  const throttle = new LoginThrottle(clock);
  const [queries, presence, publisher] = [new FakeQueries(), new FakePresence(), new FakePublisher()];
  const server = new RestServer({
    busy: () => false,
    listen: {
      host: '127.0.0.1',
      port: 0,
      maxConnections: given.maxConnections ?? 100,
      limits: given.limits ?? {},
      ...(given.tls === undefined ? {} : { tls: given.tls }),
    },
    queries,
    presence,
    publisher,
    tokens,
    throttle,
    passwords: plainPasswords(given.passwords),
    identity,
    timeZone: given.timeZone ?? 'Asia/Shanghai',
    maxPayload: given.maxPayload ?? 1_000,
    status: () => ({
      version: '1.2.3',
      gatewayId: 'gw',
      appId: 'app',
      uptime: 93_784_000,
      state: 'running',
      listeners: ['mqtt://127.0.0.1:1883'],
      clients: { coap: 1, mqtt: 2 },
      upstreams: [{ name: '<cloud>', state: 'online', queuedMessages: 3 }],
      store: { messages: 4, bytes: 5, writable: true },
      conditions: health.active(),
    }),
    metrics,
    health,
    clock,
    logger,
    version: '1.2.3',
    ...given.deps,
  });
  await server.start().catch(async (thrown: unknown) => {
    await tokens.stop();
    rmSync(directory, { recursive: true });
    throw thrown;
  });
  const port = Number(new URL(server.url).port);
  const { token } = await tokens.createAppToken();
  const ask: Api['ask'] = (method, path, headers = {}, body) => asked(port, method, path, headers, body);
  return {
    queries,
    presence,
    publisher,
    metrics,
    health,
    tokens,
    throttle,
    server,
    port,
    token,
    lines,
    ask,
    get: (path, headers = { authorization: token }) => ask('GET', path, headers),
    post: (path, body, headers = { authorization: token }) =>
      ask('POST', path, headers, typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body)),
    raw: (bytes) => raw(port, bytes),
    stop: async () => {
      await server.stop();
      await tokens.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function asked(
  port: number,
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  body: string | Buffer | undefined,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, method, path, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json: parsed(text) });
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

function raw(port: number, bytes: string | Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host: '127.0.0.1', port });
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(text));
    socket.write(bytes);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function recorder(lines: Api['lines']): Logger {
  const at = (level: string) => (fields: object, text: string) =>
    void lines.push([level, fields as Record<string, unknown>, text]);
  const logger: Logger = {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: () => logger,
  };
  return logger;
}
