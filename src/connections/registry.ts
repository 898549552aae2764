import { createHash, randomBytes } from 'node:crypto';
import { type Clock, HoldfastError, type Service, type Timer } from '../base/index.ts';
import type { Connected, ConnectionFacts, Disconnected, EndReason, GatewayEvent } from '../domain/index.ts';
import type { Logger, Metrics } from '../telemetry/index.ts';
import { type Arrival, type Connection, Manners, OpenConnection, type Protocol } from './connection.ts';

/** Where connections get their ids and what becomes of them is recorded. */
export interface ConnectionJournal {
  newConnectionId(): bigint;
  /** Takes an event, to be written when there is an occasion. */
  record(event: GatewayEvent): void;
}

const sweepInterval = 1_000;
const tokenBytes = 16;
const tokenPool = 256;

/** Who is connected, one connection per client id whatever the protocol. In memory; one sweep finds the silent ones. */
export class ConnectionRegistry implements Service {
  readonly name = 'connections';
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #maxClients: number;
  readonly #journal: ConnectionJournal;
  readonly #connections = new Map<string, Connection>();
  readonly #counts = { coap: 0, mqtt: 0 };
  readonly #most = { coap: 0, mqtt: 0 };
  readonly #manners = new Manners();
  readonly #watchers = new Set<(event: Connected | Disconnected) => void>();
  readonly #expired;
  #sweep: Timer | undefined;
  #sweptAt = 0;
  /** Milliseconds for which the process was kept from running: nobody was silent in them, as nobody could be heard. */
  #deaf = 0;
  #random = Buffer.alloc(0);
  #randomAt = 0;

  constructor(deps: {
    clock: Clock;
    logger: Logger;
    metrics: Metrics;
    journal: ConnectionJournal;
    maxClients: number;
  }) {
    this.#clock = deps.clock;
    this.#logger = deps.logger;
    this.#maxClients = deps.maxClients;
    this.#journal = deps.journal;
    for (const protocol of ['coap', 'mqtt'] as const) {
      deps.metrics.gauge('holdfast_connections', 'Clients connected.', () => this.#counts[protocol], { protocol });
    }
    this.#expired = deps.metrics.counter('holdfast_connections_expired_total', 'Clients gone without a sign of life.');
  }

  async start(): Promise<void> {
    this.#sweptAt = this.#clock.monotonic();
    this.#sweep = this.#clock.every('connection sweep', sweepInterval, () => this.#expire());
  }

  async stop(): Promise<void> {
    this.#sweep?.cancel();
    for (const connection of [...this.#connections.values()]) this.#end(connection, 'server_shutdown');
  }

  /** Clients connected. */
  count(protocol: Protocol): number {
    return this.#counts[protocol];
  }

  /** Most clients that were ever connected at once. */
  most(protocol: Protocol): number {
    return this.#most[protocol];
  }

  /** Has `watcher` told of each client that comes or goes, in that turn; returns what ends that. */
  watch(watcher: (event: Connected | Disconnected) => void): () => void {
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  }

  /**
   * Takes a client in; an older connection of the same client id ends as `taken_over`. `digest`: of the
   * token of a connection that an earlier run had and that goes on.
   * @throws HoldfastError `limit_reached`.
   */
  open(arrival: Arrival, digest?: string): Connection {
    const older = this.#connections.get(arrival.clientId);
    if (older === undefined && this.#connections.size >= this.#maxClients) {
      throw new HoldfastError('limit_reached', `the limit of ${this.#maxClients} clients is reached`);
    }
    if (older !== undefined) this.#end(older, 'taken_over');
    const own = {
      connection: this.#journal.newConnectionId(),
      clientId: arrival.clientId,
      username: arrival.username,
      address: arrival.address,
      onEnd: arrival.onEnd,
      connectedAt: this.#clock.wall(),
      token: digest === undefined ? this.#token() : '',
      digest,
      lastSeen: this.#now(),
    };
    const connection = new OpenConnection(own, this.#manners.of(arrival));
    this.#connections.set(connection.clientId, connection);
    const count = this.#counts[connection.protocol] + 1;
    this.#counts[connection.protocol] = count;
    this.#most[connection.protocol] = Math.max(count, this.#most[connection.protocol]);
    this.#happened({ kind: 'connected', reason: 'normal', ...factsOf(connection) });
    this.#logger.debug(
      { client: connection.clientId, protocol: connection.protocol, address: connection.address },
      'connected',
    );
    return connection;
  }

  /** Records a login that was refused. */
  refused(facts: Omit<ConnectionFacts, 'connection'>): void {
    this.#journal.record({ kind: 'connected', reason: 'not_authorized', ...factsOf({ ...facts, connection: 0n }) });
  }

  /** Who is connected now. */
  all(): Iterable<Connection> {
    return this.#connections.values();
  }

  find(clientId: string): Connection | undefined {
    return this.#connections.get(clientId);
  }

  /** An authenticated sign of life. */
  touch(connection: Connection): void {
    connection.lastSeen = this.#now();
  }

  /** The edge says that a connection is over; its `onEnd` is not called. Nothing happens where it was not the current one. */
  close(connection: Connection, reason: EndReason): void {
    if (this.#connections.get(connection.clientId) === connection) this.#remove(connection, reason);
  }

  /** Ends the connections that `matches` is true of, as `kicked`. */
  kick(matches: (connection: Connection) => boolean): void {
    for (const connection of [...this.#connections.values()]) if (matches(connection)) this.#end(connection, 'kicked');
  }

  /** How long clients could be heard. Whole milliseconds: V8 keeps those in the object itself, and others beside it. */
  #now(): number {
    return Math.floor(this.#clock.monotonic() - this.#deaf);
  }

  #expire(): void {
    const at = this.#clock.monotonic();
    const late = at - this.#sweptAt - sweepInterval;
    this.#sweptAt = at;
    if (late > sweepInterval) this.#deaf += late;
    const now = this.#now();
    // not an iterator, which makes an object for each of the connections, every second
    this.#connections.forEach((connection) => {
      if (connection.timeout === 0 || now - connection.lastSeen <= connection.timeout) return;
      this.#expired.add();
      this.#end(connection, 'keepalive_timeout');
    });
  }

  #end(connection: Connection, reason: EndReason): void {
    this.#remove(connection, reason);
    connection.onEnd(reason, connection);
  }

  #remove(connection: Connection, reason: EndReason): void {
    this.#connections.delete(connection.clientId);
    this.#counts[connection.protocol] -= 1;
    this.#happened({ kind: 'disconnected', reason, ...factsOf(connection) });
    this.#logger.debug({ client: connection.clientId, protocol: connection.protocol, reason }, 'disconnected');
  }

  #happened(event: Connected | Disconnected): void {
    this.#journal.record(event);
    for (const watcher of this.#watchers) watcher(event);
  }

  #token(): string {
    if (this.#randomAt >= this.#random.length) {
      this.#random = randomBytes(tokenBytes * tokenPool);
      this.#randomAt = 0;
    }
    const at = this.#randomAt;
    this.#randomAt += tokenBytes;
    return this.#random.toString('base64url', at, at + tokenBytes);
  }
}

/** SHA-256 of a connection's token, base64url: what is kept of it over a restart. */
export function digestOf({ token, digest }: Connection): string {
  return token === '' && digest !== undefined ? digest : sha256(token);
}

/** Whether `given` is the connection's token, in time that does not depend on where they differ. */
export function tokenMatches(connection: Connection, given: string): boolean {
  const { token, digest } = connection;
  if (token !== '' || digest === undefined) return sameText(token, given);
  const same = sameText(digest, sha256(given));
  if (same) connection.token = given;
  return same;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}

function sameText(text: string, given: string): boolean {
  let difference = text.length ^ given.length;
  for (let at = 0; at < text.length; at++)
    difference |= text.charCodeAt(at) ^ given.charCodeAt(at % (given.length || 1));
  return difference === 0;
}

function factsOf(from: ConnectionFacts): ConnectionFacts {
  const { connection, clientId, username, network, address, version, keepalive, clean, will } = from;
  return { connection, clientId, username, network, address, version, keepalive, clean, will };
}
