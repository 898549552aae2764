import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { reasonOf } from '../base/index.ts';
import type { Logger, Metrics } from '../telemetry/index.ts';
import { Courtesy } from './courtesy.ts';
import type { Page } from './pages.ts';
import { denied, notFound, type Refusal } from './refusal.ts';
import { refusalOf, sendBody, sendPage, sendRefusal, sendRows } from './reply.ts';
import { givenInBody, givenInQuery, hasBody, readBody } from './request-body.ts';
import { type Caller, type Context, type Given, type Route, RowStream } from './route.ts';
import { slowWrongSecret } from './throttling.ts';
import { Turnstile } from './turnstile.ts';

/** Room in a body beside the payload: topics of the greatest length, escapes, the other parameters. */
const bodySlack = 262_144;
/** An answer that nobody has read after this long is given up, milliseconds. */
const answerDeadline = 300_000;
const loggedPath = 200;

export interface HandlerDeps {
  readonly routes: readonly Route[];
  readonly pages: ReadonlyMap<string, () => Page>;
  readonly context: Context;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Whether devices leave little time. */
  readonly busy: () => boolean;
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly path: string;
  readonly query: string;
  readonly caller: Caller;
  /** The client waits for a word before it sends its body. */
  readonly expects: boolean;
  /** For figures. */
  endpoint: string;
  /** What is told to the log alone. */
  cause: unknown;
}

/** Answers one request after the other: path, authorization, body, parameters, and what the endpoint itself finds. */
export class RequestHandler {
  readonly #deps: HandlerDeps;
  readonly #maxBody: number;
  readonly #courtesy: Courtesy;
  readonly #turnstiles = { query: new Turnstile(8, 256), stream: new Turnstile(4, 64) };
  readonly #ids = randomBytes(4).toString('hex');
  #count = 0;

  constructor(deps: HandlerDeps) {
    this.#deps = deps;
    this.#courtesy = new Courtesy(deps.context.clock, deps.busy);
    this.#maxBody = Math.ceil((deps.context.maxPayload * 4) / 3) + bodySlack;
  }

  async handle(request: IncomingMessage, response: ServerResponse, expects: boolean): Promise<void> {
    const { clock } = this.#deps.context;
    const begun = clock.monotonic();
    const id = `${this.#ids}-${++this.#count}`;
    const gone = new AbortController();
    response.on('close', () => {
      if (!response.writableFinished) gone.abort();
    });
    response.on('error', () => undefined);
    const deadline = clock.after('REST answer', answerDeadline, () => response.destroy());
    response.setHeader('X-Request-Id', id);
    for (const [name, value] of securityHeaders) response.setHeader(name, value);
    const [path = '', query = ''] = targetOf(request.url ?? '');
    const caller: Caller = { address: request.socket.remoteAddress ?? '', signal: gone.signal };
    const exchange: Exchange = { request, response, path, query, caller, expects, endpoint: 'none', cause: undefined };
    try {
      await this.#answer(exchange);
    } catch (thrown) {
      await this.#refuse(exchange, thrown);
    }
    deadline.cancel();
    const ms = Math.round((clock.monotonic() - begun) * 10) / 10;
    this.#told(exchange, { request: id, method: request.method, path: path.slice(0, loggedPath), ms });
  }

  async #answer(exchange: Exchange): Promise<void> {
    const { request, response, path } = exchange;
    const page = this.#deps.pages.get(path);
    if (page !== undefined && (request.method === 'GET' || request.method === 'HEAD')) {
      exchange.endpoint = path;
      sendPage(response, page());
      return;
    }
    const route = this.#deps.routes.find(({ method, paths }) => method === request.method && paths.includes(path));
    if (route === undefined) throw notFound();
    exchange.endpoint = route.id;
    if (route.authorized) await this.#authorize(exchange);
    const given = route.method === 'GET' ? givenInQuery(exchange.query) : await this.#body(exchange);
    const run = () => this.#run(route, given, exchange);
    if (route.load === 'light') await run();
    else await this.#turnstiles[route.load].run(() => this.#courtesy.run(run));
  }

  async #run(route: Route, given: Given, { response, caller }: Exchange): Promise<void> {
    if (caller.signal.aborted) return;
    const body = await route.run(given, this.#deps.context, caller);
    if (body instanceof RowStream) await sendRows(response, body, caller.signal);
    else sendBody(response, body);
  }

  /** @throws Refusal 403. */
  async #authorize({ request, caller }: Exchange): Promise<void> {
    const token = /^(?:Bearer +)?(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
    if (token === undefined) throw denied();
    const { context, logger } = this.#deps;
    if (context.tokens.isAppToken(token)) return;
    logger.info({ address: caller.address }, 'a request with a wrong application token was refused');
    await slowWrongSecret(context, caller);
    throw denied();
  }

  async #body({ request, response, expects }: Exchange): Promise<Given> {
    const declared = Number(request.headers['content-length'] ?? 0);
    if (expects && declared <= this.#maxBody) response.writeContinue();
    return givenInBody(await readBody(request, this.#maxBody, true));
  }

  async #refuse(exchange: Exchange, thrown: unknown): Promise<void> {
    const { request, response, expects } = exchange;
    const refusal: Refusal = refusalOf(thrown);
    exchange.cause = refusal.cause;
    if (response.headersSent || response.destroyed) return;
    // what is still to come of the request is taken first, or the connection ends behind the answer
    if (!request.complete && hasBody(request)) {
      const rest = expects ? 'too large' : await readBody(request, this.#maxBody, false);
      if (rest === 'too large') response.setHeader('Connection', 'close');
      request.resume();
    }
    if (!response.destroyed) sendRefusal(response, refusal);
  }

  #told({ response, endpoint, cause, caller }: Exchange, fields: object): void {
    const { logger, metrics } = this.#deps;
    const status = response.statusCode;
    metrics.counter('holdfast_rest_requests_total', 'HTTP requests.', { endpoint, status: String(status) }).add();
    if (cause !== undefined && (status >= 500 || response.destroyed)) {
      logger.error({ ...fields, status, reason: reasonOf(cause) }, 'a request failed');
    } else logger.debug({ ...fields, status, address: caller.address }, 'a request was answered');
  }
}

const securityHeaders = [
  ['X-Content-Type-Options', 'nosniff'],
  ['X-Frame-Options', 'DENY'],
  ['Referrer-Policy', 'no-referrer'],
  ['Cache-Control', 'no-store'],
] as const;

/** Path and query of a request target; also of the absolute form (RFC 9112 §3.2.2). */
function targetOf(target: string): readonly [string, string] {
  const local = target.replace(/^https?:\/\/[^/?]*/i, '');
  const mark = local.indexOf('?');
  return mark === -1 ? [local, ''] : [local.slice(0, mark), local.slice(mark + 1)];
}
