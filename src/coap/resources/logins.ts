import { HoldfastError } from '../../base/index.ts';
import type { AccessRules, Authenticator, Connection, ConnectionRegistry } from '../../connections/index.ts';
import { type ConnectionFacts, type EndReason, fullClientId, type StoredMessage } from '../../domain/index.ts';
import type { Logger, Metrics } from '../../telemetry/index.ts';
import type { CoapRequest, CoapResponse } from '../message-layer.ts';
import { identifiedLogin } from './identified.ts';
import { decodeKept, type KeptClient } from './kept-client.ts';
import type { QueryParameters } from './query.ts';
import * as replies from './replies.ts';
import type { Subscriptions } from './subscriptions.ts';

/** Connected clients as they are kept over a restart. */
export interface KeptClients {
  readonly count: number;
  /** Those whom an earlier run kept, with their texts. */
  all(): Iterable<readonly [string, string]>;
  /** Messages that one of them may not have got. */
  missed(): AsyncIterable<StoredMessage>;
  /** From here on `lowest` tells the lowest id that one of them is owed. */
  begin(lowest: () => bigint | undefined): void;
}

export interface LoginsDeps {
  readonly registry: ConnectionRegistry;
  readonly authenticator: Authenticator;
  readonly rules: AccessRules;
  readonly kept: KeptClients & { forget(clientId: string): void };
  readonly subscriptions: Subscriptions;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Milliseconds of silence after which a client is gone. */
  readonly patience: number;
  readonly options: { readonly heartbeat: number; readonly appId: string };
}

/** A client is gone after this many times its heartbeat without a sign of life. */
export const heartbeatsOfSilence = 1.5;

/** Who comes in: with a login, or from an earlier run of the gateway. */
export class Logins {
  readonly #deps: LoginsDeps;
  readonly #refused;
  readonly #onEnd: (reason: EndReason, connection: Connection) => void;

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
    const { kept, logger, subscriptions } = this.#deps;
    let clients = 0;
    for (const [clientId, text] of kept.all()) {
      const client = decodeKept(text);
      if (client !== undefined && this.#restored(clientId, client)) clients += 1;
      else kept.forget(clientId);
    }
    await subscriptions.replay(kept.missed());
    kept.begin(() => subscriptions.lowestOwed);
    if (clients > 0) logger.info({ clients, owed: subscriptions.owed }, 'connected CoAP clients are back');
  }

  /** Answers a login. */
  async connect(request: CoapRequest, query: QueryParameters): Promise<CoapResponse> {
    const { authenticator, registry, logger, options, patience } = this.#deps;
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
      this.refused();
      logger.info({ client: clientId, address }, 'a login was refused');
      registry.refused(facts);
      return replies.loginFailed;
    }
    const connection = registry.open({
      ...facts,
      username: login.username,
      protocol: 'coap',
      timeout: patience,
      onEnd: this.#onEnd,
    });
    return { code: replies.codes.created, payload: connection.token };
  }

  /** A login was refused. */
  refused(): void {
    this.#refused.add();
  }

  /** A connection ended otherwise than by its client's request. */
  #over({ clientId }: Connection, reason: EndReason): void {
    // the next run goes on with it
    if (reason === 'server_shutdown') return;
    if (reason === 'taken_over') this.#deps.subscriptions.leave(clientId);
    else
      this.#deps.subscriptions.removeAll(clientId, reason === 'keepalive_timeout' ? replies.codes.notFound : undefined);
  }

  /** Whether the client, which an earlier run had, goes on. */
  #restored(clientId: string, client: KeptClient): boolean {
    const { authenticator, registry, rules, options, patience, subscriptions } = this.#deps;
    const { username, network, address, digest, place } = client;
    // one who proved itself to the transport has to do that again
    if (network !== 'coaps' && !authenticator.knows(username)) return false;
    const allowed = client.subscriptions.filter(({ filter }) =>
      rules.allows({ clientId, username }, 'subscribe', filter),
    );
    if (allowed.length === 0) return false;
    const facts = { clientId, username, network, address, version: 1, clean: true, will: undefined };
    const arrival = {
      ...facts,
      protocol: 'coap' as const,
      keepalive: options.heartbeat / 1_000,
      timeout: patience,
      onEnd: this.#onEnd,
    };
    try {
      subscriptions.restore(registry.open(arrival, digest), place, allowed);
      return true;
    } catch (thrown) {
      if (!(thrown instanceof HoldfastError)) throw thrown;
      return false;
    }
  }
}
