import { HoldfastError } from '../../base/index.ts';
import type {
  AccessRules,
  Arrival,
  Authenticator,
  Connection,
  ConnectionRegistry,
  Login,
} from '../../connections/index.ts';
import { type EndReason, fullClientId, type StoredMessage } from '../../domain/index.ts';
import type { Logger, Metrics } from '../../telemetry/index.ts';
import type { CoapRequest, CoapResponse, Endpoint } from '../message-layer.ts';
import { identifiedLogin } from './identified.ts';
import { decodeKept, type KeptClient } from './kept-client.ts';
import { numberedOn } from './kept-fields.ts';
import { decodeObserver, encodeObserver, type KeptObserver } from './kept-observer.ts';
import type { QueryParameters } from './query.ts';
import * as replies from './replies.ts';
import type { ObserverStore, Observers } from './subscription-deps.ts';
import type { Subscriptions } from './subscriptions.ts';

/** Connected clients as they are kept over a restart. */
export interface KeptClients {
  /** Writes what there is to keep of all of them; it is on the disk when this resolves. */
  write(): Promise<void>;
  /** Those whom an earlier run kept, with their texts. */
  all(): Iterable<readonly [string, string]>;
  /** Messages that one of them may not have got. */
  missed(): AsyncIterable<StoredMessage>;
  /** From here on `lowest` tells the lowest id that one of them is owed. */
  begin(lowest: () => bigint | undefined): void;
}

/** Observers without a connection as they are kept over a restart. */
export interface KeptObservers {
  /** Those whom an earlier run kept, with their texts. */
  all(): Iterable<readonly [string, string]>;
  /** Writes all of them; they are on the disk when this resolves. */
  settle(): Promise<void>;
}

export interface LoginsDeps {
  readonly registry: ConnectionRegistry;
  readonly authenticator: Authenticator;
  readonly rules: AccessRules;
  readonly kept: KeptClients & { forget(clientId: string): void };
  readonly keptObservers: KeptObservers & ObserverStore;
  readonly observers: Observers;
  readonly subscriptions: Subscriptions;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Milliseconds of silence after which a client is gone. */
  readonly patience: number;
  readonly options: {
    readonly heartbeat: number;
    readonly appId: string;
    readonly mode: 'connection' | 'connectionless';
  };
}

/** A client is gone after this many times its heartbeat without a sign of life. */
export const heartbeatsOfSilence = 1.5;

/** Who comes in: with a login, or from an earlier run of the gateway. */
export class Logins {
  readonly #deps: LoginsDeps;
  readonly #refused;
  readonly #onEnd: (reason: EndReason, connection: Connection) => void;
  /** Observers without a connection that an earlier run had, by name. */
  #returning = new Map<string, KeptObserver>();
  /** What the answer to the login has to wait for that takes a connection over. */
  #left: Promise<void> | undefined;

  constructor(deps: LoginsDeps) {
    this.#deps = deps;
    this.#refused = deps.metrics.counter('holdfast_logins_refused_total', 'Logins refused.', { protocol: 'coap' });
    // one for all of them
    this.#onEnd = (reason, connection) => this.#over(connection, reason);
  }

  /**
   * Takes up the clients that an earlier run had, as far as they would be let in now, and what they may not have got.
   * While nobody publishes; before requests come in.
   */
  async restore(): Promise<void> {
    const { kept, keptObservers, logger, subscriptions } = this.#deps;
    let clients = 0;
    for (const [clientId, text] of kept.all()) {
      const client = decodeKept(text);
      if (client !== undefined && this.#restored(clientId, client)) clients += 1;
      else kept.forget(clientId);
    }
    this.#restoreObservers();
    // numbers that were given out must not come again: on the disk before the first goes out
    await Promise.all([kept.write().catch(() => undefined), keptObservers.settle().catch(() => undefined)]);
    await subscriptions.replay(kept.missed());
    kept.begin(() => subscriptions.lowestOwed);
    if (clients > 0) logger.info({ clients, owed: subscriptions.owed }, 'connected CoAP clients are back');
  }

  /** Goes on with observers without a connection, where they are still to be found: once notifications can be sent. */
  resumeObservers(): void {
    const { observers, keptObservers, subscriptions, logger } = this.#deps;
    let count = 0;
    for (const [name, { place, subscriptions: kept }] of this.#returning) {
      const endpoint = observers.endpointAt(place);
      if (endpoint === undefined) keptObservers.forget(name);
      else if (subscriptions.resumeObserver(endpoint, kept)) count += 1;
    }
    this.#returning.clear();
    if (count > 0) logger.info({ observers: count }, 'observers without a connection are back');
  }

  /** Those who would be let in now, each numbered on. */
  #restoreObservers(): void {
    const { authenticator, keptObservers, rules, options } = this.#deps;
    for (const [name, text] of keptObservers.all()) {
      const observer = options.mode === 'connectionless' ? decodeObserver(text) : undefined;
      const subscriptions = (observer?.subscriptions ?? [])
        .filter((one) => authenticator.knows(one.username, one.stamp) && rules.allows(one, 'subscribe', one.filter))
        .map((one) => ({ ...one, observation: numberedOn(one.observation) }));
      if (observer === undefined || subscriptions.length === 0) {
        keptObservers.forget(name);
        continue;
      }
      const returning = { place: observer.place, subscriptions };
      keptObservers.keep(name, () => encodeObserver(returning));
      this.#returning.set(name, returning);
    }
  }

  /** Answers a login, at once where that can be. */
  connect({ endpoint }: CoapRequest, query: QueryParameters): CoapResponse | Promise<CoapResponse> {
    const { clientid, username, password } = query;
    if (clientid === undefined || clientid === '') {
      return { code: replies.codes.badRequest, payload: 'Login Failed: clientid is required' };
    }
    const { authenticator, options } = this.#deps;
    const clientId = fullClientId(clientid, options.appId);
    const { address } = endpoint;
    const login = identifiedLogin(endpoint, query) ?? authenticator.login({ username, password, clientId, address });
    return login instanceof Promise
      ? login.then((outcome) => this.#loggedIn(endpoint, clientId, username, outcome))
      : this.#loggedIn(endpoint, clientId, username, login);
  }

  #loggedIn(
    endpoint: Endpoint,
    clientId: string,
    username: string | undefined,
    login: Login,
  ): CoapResponse | Promise<CoapResponse> {
    const { registry, logger } = this.#deps;
    const { address, port, secure } = endpoint;
    const facts = this.#factsOf({
      clientId,
      username: login.ok ? login.username : (username ?? ''),
      network: secure ? 'coaps' : 'coap',
      address: address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`,
    });
    if (!login.ok) {
      this.refused();
      logger.info({ client: clientId, address }, 'a login was refused');
      registry.refused(facts);
      return replies.loginFailed;
    }
    // ends the connection whose place it takes
    const response = { code: replies.codes.created, payload: registry.open(facts).token };
    const left = this.#left;
    this.#left = undefined;
    return left === undefined ? response : left.then(() => response);
  }

  #factsOf({
    clientId,
    username,
    network,
    address,
  }: Pick<Arrival, 'clientId' | 'username' | 'network' | 'address'>): Arrival {
    const { options, patience } = this.#deps;
    return {
      clientId,
      username,
      network,
      address,
      version: 1,
      keepalive: options.heartbeat / 1_000,
      clean: true,
      will: undefined,
      protocol: 'coap',
      timeout: patience,
      onEnd: this.#onEnd,
    };
  }

  /** A login was refused. */
  refused(): void {
    this.#refused.add();
  }

  /** A connection ended otherwise than by its client's request. */
  #over({ clientId }: Connection, reason: EndReason): void {
    // the next run goes on with it
    if (reason === 'server_shutdown') return;
    // where the disk fails it is written once it can be
    if (reason === 'taken_over') this.#left = this.#deps.subscriptions.leave(clientId)?.catch(() => undefined);
    else
      this.#deps.subscriptions.removeAll(clientId, reason === 'keepalive_timeout' ? replies.codes.notFound : undefined);
  }

  /** Whether the client, which an earlier run had, goes on. */
  #restored(clientId: string, client: KeptClient): boolean {
    const { authenticator, registry, rules, subscriptions } = this.#deps;
    const { username, stamp, network, address, digest, place } = client;
    // one who proved itself to the transport has to do that again
    if (network !== 'coaps' && !authenticator.knows(username, stamp)) return false;
    const allowed = client.subscriptions.filter(({ filter }) =>
      rules.allows({ clientId, username }, 'subscribe', filter),
    );
    if (allowed.length === 0) return false;
    try {
      subscriptions.restore(
        registry.open(this.#factsOf({ clientId, username, network, address }), digest),
        place,
        allowed,
      );
      return true;
    } catch (thrown) {
      if (!(thrown instanceof HoldfastError)) throw thrown;
      return false;
    }
  }
}
