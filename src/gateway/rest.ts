import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, hostAndPort, type Service } from '../base/index.ts';
import type { Config } from '../config/index.ts';
import { type LoginThrottle, TokenStore, type UsersFile } from '../connections/index.ts';
import type { ClockQuality } from '../domain/index.ts';
import { Index } from '../index/index.ts';
import { LevelStore, type Log } from '../log/index.ts';
import { type Presence, type Publisher, type Queries, type RestListen, RestServer } from '../rest/index.ts';
import { type Health, type Logger, type Metrics, registerProcessMetrics } from '../telemetry/index.ts';
import type { Identity } from './identity.ts';
import { IngestLoad } from './ingest-load.ts';
import type { StatusReport } from './status.ts';

/** Part of the history's bytes that the index may take of them. */
const indexShare = 4;

/** What the REST API and the logins that it makes possible are put together from. */
export interface RestParts {
  readonly config: Config;
  readonly identity: Identity;
  readonly clock: Clock;
  readonly quality: () => ClockQuality;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly health: Health;
  readonly version: string;
}

/** The tokens, in the state directory: there also where the API is switched off, since they are logins too. */
export function tokenStore({ config, clock, quality, logger, metrics }: RestParts): TokenStore {
  return new TokenStore({
    path: join(config.stateDir, 'tokens.jsonl'),
    clock,
    quality,
    logger: logger.child('tokens'),
    metrics,
  });
}

/**
 * The query index, in a directory that may be deleted; and its store, a service that has it opened while others start. To
 * be started behind the log: what state is of a later format is not touched.
 */
export function queryIndex({ config, clock, logger, metrics, health }: RestParts, log: Log) {
  const directory = join(config.stateDir, 'index');
  const maxBytes = config.store.history.maxBytes / indexShare;
  const store = new LevelStore(directory, { maxBytes, keep: 1, logger });
  const indexStore: Service = {
    name: 'index store',
    start: async () => store.begin(),
    stop: () => store.close(),
  };
  const index = new Index({
    store,
    options: { maxBytes },
    discard: () => rm(directory, { recursive: true, force: true }),
    log,
    clock,
    logger: logger.child('index'),
    metrics,
    health,
  });
  return { index, indexStore };
}

/** The process's own figures, for as long as the gateway runs. */
export function processFigures(metrics: Metrics, clock: Clock): Service {
  let end = (): void => undefined;
  return {
    name: 'process figures',
    start: async () => {
      end = registerProcessMetrics(metrics, clock);
    },
    stop: async () => end(),
  };
}

/** The API's listener, or undefined where it is switched off. */
export function restServer(
  parts: RestParts & {
    readonly queries: Queries;
    readonly presence: Presence;
    readonly publisher: Publisher;
    readonly tokens: TokenStore;
    readonly throttle: LoginThrottle;
    readonly users: UsersFile;
    readonly status: () => StatusReport;
  },
): RestServer | undefined {
  const { config, users, logger, ...rest } = parts;
  if (config.rest.listen === '') return undefined;
  const load = new IngestLoad(rest.clock, () => rest.metrics.value('holdfast_messages_acknowledged_total') ?? 0);
  return new RestServer({
    ...rest,
    listen: restListen(config),
    passwords: users,
    timeZone: config.app.timeZone,
    maxPayload: config.limits.payload,
    logger: logger.child('rest'),
    busy: () => load.busy,
  });
}

function restListen({ rest, limits }: Config): RestListen {
  const secure = rest.listen.startsWith('https:');
  const { certFile, keyFile } = rest;
  return {
    ...hostAndPort(rest.listen, secure ? 443 : 80),
    maxConnections: limits.restConnections,
    ...(secure && certFile !== undefined && keyFile !== undefined ? { tls: { certFile, keyFile } } : {}),
  };
}
