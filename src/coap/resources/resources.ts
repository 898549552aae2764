import { type Clock, HoldfastError, reasonOf } from '../../base/index.ts';
import {
  type AccessRules,
  type Authenticator,
  type Connection,
  type ConnectionRegistry,
  type Identity,
  tokenMatches,
} from '../../connections/index.ts';
import {
  type ConnectionFacts,
  type EndReason,
  fullClientId,
  type Message,
  topicFilterProblem,
  topicNameProblem,
} from '../../domain/index.ts';
import type { Logger, Metrics } from '../../telemetry/index.ts';
import type { CoapRequest, CoapResponse, RequestHandler, Respond } from '../message-layer.ts';
import { discover } from './discovery.ts';
import { identifiedLogin, mayContinue } from './identified.ts';
import { expiryOf, type QueryParameters, qosOf, readQuery, retainOf } from './query.ts';
import * as replies from './replies.ts';
import { type Journal, type MessageSource, type Observe, Subscriptions } from './subscriptions.ts';

/** The way in for messages. */
export interface MessageSink {
  publish(message: Message, done: (error?: HoldfastError, id?: bigint) => void): void;
}

export interface ResourceOptions {
  /** `connection`: every request to `ps/` proves itself by client id and token. */
  readonly mode: 'connection' | 'connectionless';
  /** Interval in milliseconds at which a connected client shows itself; it is gone after 1.5 times that. */
  readonly heartbeat: number;
  readonly appId: string;
  readonly maxSubscriptions: number;
}

export interface ResourceDeps {
  readonly sink: MessageSink;
  readonly source: MessageSource;
  readonly observe: Observe;
  readonly registry: ConnectionRegistry;
  readonly authenticator: Authenticator;
  readonly rules: AccessRules;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly options: ResourceOptions;
}

const get = 1;
const post = 2;
const put = 3;
const del = 4;

/** Who a request speaks for, and under which name its subscriptions are kept. */
interface Caller {
  readonly identity: Identity;
  readonly owner: string;
  readonly connection: Connection | undefined;
}

/** The API's resources: `mqtt/connection`, `ps/{topic}` and `.well-known/core`. */
export class CoapResources implements RequestHandler {
  readonly #deps: ResourceDeps;
  readonly #subscriptions: Subscriptions;
  readonly #refusedLogins;

  constructor(deps: ResourceDeps) {
    this.#deps = deps;
    this.#subscriptions = new Subscriptions(deps.source, deps.observe, deps.journal, deps.options.maxSubscriptions);
    this.#refusedLogins = deps.metrics.counter('holdfast_logins_refused_total', 'Logins refused.', {
      protocol: 'coap',
    });
  }

  /** What a connected client has subscribed to. */
  subscriptions(clientId: string): ReturnType<Subscriptions['of']> {
    return this.#subscriptions.of(clientId);
  }

  handle(request: CoapRequest, respond: Respond): void {
    try {
      const answer = this.#answer(request, respond);
      if (answer instanceof Promise) answer.then(respond, (thrown: unknown) => respond(this.#failure(thrown)));
      else if (answer !== undefined) respond(answer);
    } catch (thrown) {
      respond(this.#failure(thrown));
    }
  }

  /** The response, or undefined where `respond` is called later. */
  #answer(request: CoapRequest, respond: Respond): CoapResponse | Promise<CoapResponse> | undefined {
    if (request.badText) throw new HoldfastError('bad_request', 'path and query must be valid UTF-8');
    const { path } = request;
    if (path[0] === 'ps') return this.#topic(request, respond);
    if (path.length !== 2) return replies.notFound;
    if (path[0] === 'mqtt' && path[1] === 'connection') return this.#connection(request);
    if (path[0] !== '.well-known' || path[1] !== 'core') return replies.notFound;
    return request.method === get ? discover(request.query) : replies.methodNotAllowed;
  }

  #failure(thrown: unknown): CoapResponse {
    if (thrown instanceof HoldfastError) return replies.errorReply(thrown);
    this.#deps.logger.error({ reason: reasonOf(thrown) }, 'a request failed');
    return { code: replies.codes.internal };
  }

  #connection(request: CoapRequest): CoapResponse | Promise<CoapResponse> {
    const query = readQuery(request.query);
    if (request.method === post) return this.#connect(request, query);
    if (request.method !== put && request.method !== del) return replies.methodNotAllowed;
    const caller = this.#proven(request, query, true);
    if ('code' in caller) return caller;
    if (request.method === del && caller.connection !== undefined) {
      this.#deps.registry.close(caller.connection, 'normal');
      this.#subscriptions.removeAll(caller.owner);
    }
    return replies.created;
  }

  async #connect(request: CoapRequest, query: QueryParameters): Promise<CoapResponse> {
    const { authenticator, registry, logger, options } = this.#deps;
    if (query.clientid === undefined || query.clientid === '') {
      return { code: replies.codes.badRequest, payload: 'Login Failed: clientid is required' };
    }
    const clientId = fullClientId(query.clientid, options.appId);
    const { address, port, secure } = request.endpoint;
    const facts: Omit<ConnectionFacts, 'connection'> = {
      clientId,
      username: query.username ?? '',
      network: secure ? 'coaps' : 'coap',
      address: address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`,
      version: 1,
      keepalive: options.heartbeat / 1_000,
      clean: true,
      will: undefined,
    };
    const { username, password } = query;
    const login =
      identifiedLogin(request.endpoint, query) ??
      (await authenticator.login({ username, password, clientId, address }));
    if (!login.ok) {
      this.#refusedLogins.add();
      logger.info({ client: clientId, address }, 'a login was refused');
      registry.refused(facts);
      return replies.loginFailed;
    }
    const connection = registry.open({
      ...facts,
      username: login.username,
      protocol: 'coap',
      timeout: options.heartbeat * 1.5,
      onEnd: (reason: EndReason) => {
        this.#subscriptions.removeAll(clientId, reason === 'keepalive_timeout' ? replies.codes.notFound : undefined);
      },
    });
    return { code: replies.codes.created, payload: connection.token };
  }

  #topic(request: CoapRequest, respond: Respond): CoapResponse | undefined {
    const { method } = request;
    if (method !== post && method !== get) return replies.methodNotAllowed;
    const query = readQuery(request.query);
    const maintains = method === get && request.observe !== undefined;
    const caller =
      this.#deps.options.mode === 'connection'
        ? this.#proven(request, query, maintains)
        : this.#admitted(request, query);
    const serve = (known: Caller | CoapResponse) =>
      'code' in known ? known : this.#serve(request, query, known, respond);
    if (!(caller instanceof Promise)) return serve(caller);
    caller
      .then((known) => {
        const answer = serve(known);
        if (answer !== undefined) respond(answer);
      })
      .catch((thrown: unknown) => respond(this.#failure(thrown)));
    return undefined;
  }

  #serve(request: CoapRequest, query: QueryParameters, caller: Caller, respond: Respond): CoapResponse | undefined {
    const topic = request.path.length === 2 ? (request.path[1] ?? '') : request.path.slice(1).join('/');
    if (request.method === post) {
      this.#publish(request, query, caller, topic, respond);
      return undefined;
    }
    if (topicFilterProblem(topic) !== undefined) return replies.invalidTopic;
    switch (request.observe) {
      case undefined:
        return this.#read(request, caller, topic);
      case 0:
        return this.#subscribe(request, query, caller, topic, respond);
      case 1:
        this.#subscriptions.remove(caller.owner, topic);
        return replies.unsubscribed;
      default:
        return { code: replies.codes.badRequest, payload: 'invalid observe value' };
    }
  }

  #publish(request: CoapRequest, query: QueryParameters, caller: Caller, topic: string, respond: Respond): void {
    const message: Message = {
      topic,
      payload: request.payload,
      qos: qosOf(query.qos, request.confirmable ? 1 : 0),
      retain: retainOf(query.retain),
      expiry: expiryOf(query.expiry),
      origin: 'coap',
      upstream: '',
      clientId: caller.identity.clientId,
      username: caller.identity.username,
      connection: caller.connection?.connection ?? 0n,
    };
    this.#deps.sink.publish(message, (error) =>
      respond(error === undefined ? replies.changed : replies.errorReply(error)),
    );
  }

  #read(request: CoapRequest, caller: Caller, topic: string): CoapResponse {
    if (topicNameProblem(topic) !== undefined) return replies.invalidTopic;
    this.#mayRead(caller, topic);
    const message = this.#deps.source.retained.get(topic);
    if (message === undefined) return replies.notFound;
    const etag = Buffer.alloc(8);
    etag.writeBigUInt64BE(message.id);
    const known = request.etags.some((one) => etag.equals(one));
    return known
      ? { code: replies.codes.valid, etag }
      : { code: replies.codes.content, payload: message.payload, etag };
  }

  #subscribe(
    request: CoapRequest,
    query: QueryParameters,
    caller: Caller,
    filter: string,
    respond: Respond,
  ): CoapResponse | undefined {
    const qos = qosOf(query.qos, request.confirmable ? 1 : 0);
    this.#mayRead(caller, filter);
    const sendRetained = this.#subscriptions.add(request, {
      owner: caller.owner,
      clientId: caller.identity.clientId,
      filter,
      qos,
      single: caller.connection !== undefined,
      now: this.#deps.clock.monotonic(),
    });
    if (sendRetained === undefined) throw new HoldfastError('limit_reached', 'the limit of subscriptions is reached');
    respond(replies.subscribed);
    sendRetained();
    return undefined;
  }

  #mayRead(caller: Caller, filter: string): void {
    if (this.#deps.rules.allows(caller.identity, 'subscribe', filter)) return;
    throw new HoldfastError('access_denied', 'not allowed to subscribe to this topic');
  }

  /** The caller by client id and token, or what to answer. Only then does the request count as a sign of life. */
  #proven(request: CoapRequest, query: QueryParameters, moves: boolean): Caller | CoapResponse {
    if (!query.clientid || !query.token) return replies.missingToken;
    const connection = this.#connectionOf(request, query);
    return connection === undefined ? replies.invalidToken : this.#alive(request, connection, moves);
  }

  /** The caller without a connection: user name and password are checked on every request. */
  #admitted(request: CoapRequest, query: QueryParameters): Caller | CoapResponse | Promise<Caller | CoapResponse> {
    const connection = query.token ? this.#connectionOf(request, query) : undefined;
    if (connection !== undefined) {
      return this.#alive(request, connection, request.method === get && request.observe !== undefined);
    }
    const clientId = query.clientid ? fullClientId(query.clientid, this.#deps.options.appId) : '';
    const { username, password } = query;
    const { address } = request.endpoint;
    const login =
      identifiedLogin(request.endpoint, query) ??
      this.#deps.authenticator.login({ username, password, clientId, address });
    const judge = (outcome: Awaited<typeof login>): Caller | CoapResponse => {
      if (outcome.ok) {
        const identity = { clientId, username: outcome.username };
        return { identity, owner: request.endpoint.key, connection: undefined };
      }
      this.#refusedLogins.add();
      return replies.loginFailed;
    };
    return login instanceof Promise ? login.then(judge) : judge(login);
  }

  #connectionOf({ endpoint }: CoapRequest, query: QueryParameters): Connection | undefined {
    const { registry, options } = this.#deps;
    const given = query.clientid ?? '';
    const connection = registry.find(given.includes('@') ? given : `${given}@${options.appId}`);
    const proven = connection?.protocol === 'coap' && tokenMatches(connection, query.token ?? '');
    return proven && mayContinue(endpoint, connection) ? connection : undefined;
  }

  #alive(request: CoapRequest, connection: Connection, moves: boolean): Caller {
    this.#deps.registry.touch(connection);
    const owner = connection.clientId;
    this.#subscriptions.seenAt(owner, request.endpoint, connection.lastSeen, moves, this.#deps.options.heartbeat);
    return { identity: connection, owner, connection };
  }
}
