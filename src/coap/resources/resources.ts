import { HoldfastError, reasonOf } from '../../base/index.ts';
import {
  type AccessRules,
  type Authenticator,
  type Connection,
  type ConnectionRegistry,
  type Identity,
  tokenMatches,
} from '../../connections/index.ts';
import { fullClientId, type Message, topicFilterProblem, topicNameProblem } from '../../domain/index.ts';
import type { Logger } from '../../telemetry/index.ts';
import type { CoapRequest, CoapResponse, RequestHandler, Respond } from '../message-layer.ts';
import { discover } from './discovery.ts';
import { identifiedLogin, mayContinue } from './identified.ts';
import { heartbeatsOfSilence, type KeptClients, type KeptObservers, Logins } from './logins.ts';
import { expiryOf, type QueryParameters, qosOf, readQuery, retainOf } from './query.ts';
import * as replies from './replies.ts';
import type { SubscriptionsDeps } from './subscription-deps.ts';
import { Subscriptions } from './subscriptions.ts';

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

export interface ResourceDeps extends Omit<SubscriptionsDeps, 'maxPerOwner' | 'patience' | 'kept' | 'keptObservers'> {
  readonly sink: MessageSink;
  readonly registry: ConnectionRegistry;
  readonly authenticator: Authenticator;
  readonly rules: AccessRules;
  readonly kept: SubscriptionsDeps['kept'] & KeptClients;
  readonly keptObservers: SubscriptionsDeps['keptObservers'] & KeptObservers;
  readonly logger: Logger;
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
  readonly #logins: Logins;

  constructor(deps: ResourceDeps) {
    this.#deps = deps;
    const { maxSubscriptions, heartbeat } = deps.options;
    const patience = heartbeat * heartbeatsOfSilence;
    this.#subscriptions = new Subscriptions({ ...deps, maxPerOwner: maxSubscriptions, patience });
    this.#logins = new Logins({ ...deps, subscriptions: this.#subscriptions, patience });
  }

  /** What a connected client has subscribed to. */
  subscriptions(clientId: string): ReturnType<Subscriptions['of']> {
    return this.#subscriptions.of(clientId);
  }

  /** Takes up the clients that an earlier run had: while nobody publishes, and before requests come in. */
  restore(): Promise<void> {
    return this.#logins.restore();
  }

  /** Sends to those clients again, once that can be done. */
  resume(): void {
    this.#subscriptions.resume();
    this.#logins.resumeObservers();
  }

  /** Ends what these users, whose passwords hold no more, have subscribed to without a connection. */
  endUsers(usernames: ReadonlySet<string>): void {
    this.#subscriptions.endUsers(usernames);
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
    if (request.method === post) return this.#logins.connect(request, query);
    if (request.method !== put && request.method !== del) return replies.methodNotAllowed;
    const caller = this.#proven(request, query, true);
    if ('code' in caller) return caller;
    if (request.method === del && caller.connection !== undefined) {
      this.#deps.registry.close(caller.connection, 'normal');
      this.#subscriptions.removeAll(caller.owner);
    }
    return replies.created;
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
    const { owner, identity, connection } = caller;
    const { clientId, username } = identity;
    const taken = this.#subscriptions.add(request, { owner, clientId, username, connection, filter, qos });
    if (taken === undefined) throw new HoldfastError('limit_reached', 'the limit of subscriptions is reached');
    const subscribed = () => {
      respond(replies.subscribed);
      taken.sendRetained();
    };
    // where the disk fails the client has its subscription all the same, and it is kept once the disk works
    if (taken.kept === undefined) subscribed();
    else taken.kept.then(subscribed, subscribed);
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
      this.#logins.refused();
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
