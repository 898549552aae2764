import { join } from 'node:path';
import { type Clock, HoldfastError, makeDirectory, type Service, ServiceStack, startStep } from '../base/index.ts';
import { Broker } from '../broker/index.ts';
import { CoapResources, CoapServer } from '../coap/index.ts';
import type { Config } from '../config/index.ts';
import {
  AccessRules,
  Authenticator,
  ConnectionRegistry,
  LoginThrottle,
  PskFile,
  type TokenStore,
  UsersFile,
} from '../connections/index.ts';
import { AtomicNumberFile, LevelStore, Log, StateDisk } from '../log/index.ts';
import { Pipeline } from '../pipeline/index.ts';
import type { RestServer } from '../rest/index.ts';
import { SessionStore } from '../sessions/index.ts';
import type { InheritedSocket } from '../systemd/index.ts';
import { Health, type Logger, Metrics } from '../telemetry/index.ts';
import { Upstream } from '../upstream/index.ts';
import { ClockWatch } from './clock-quality.ts';
import { type ControlRequest, ControlSocket } from './control.ts';
import type { Identity } from './identity.ts';
import { brokerOptions, logOptions, sessionLimits, stateFile, upstreamOptions } from './options.ts';
import { GatewayPresence } from './presence.ts';
import { processFigures, queryIndex, restServer, tokenStore } from './rest.ts';
import { type StatusReport, stateOf, upstreamFigures } from './status.ts';
import { CoapTransports } from './transports.ts';

export interface GatewayDeps {
  readonly config: Config;
  readonly identity: Identity;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly version: string;
  /** What the service manager holds for CoAP. */
  readonly sockets?: readonly InheritedSocket[];
  /** The command line changed the users: the configuration is to be read again, since who may come in may hang on it. */
  readonly usersChanged: () => Promise<void>;
}

/** A commit that takes longer than this means that the disk hangs, milliseconds. */
const commitPatience = 20_000;

/** All parts of one gateway, constructed and put in order. */
export class Gateway {
  readonly #deps: GatewayDeps;
  readonly #stack: ServiceStack;
  readonly #log: Log;
  readonly #users: UsersFile;
  readonly #tokens: TokenStore;
  readonly #authenticator: Authenticator;
  readonly #rules: AccessRules;
  readonly #registry: ConnectionRegistry;
  readonly #broker: Broker;
  readonly #sessions: SessionStore;
  readonly #coap: CoapServer;
  readonly #resources: CoapResources;
  readonly #rest: RestServer | undefined;
  readonly #transports: CoapTransports;
  readonly #upstreams: readonly Upstream[];
  readonly #health: Health;
  readonly #metrics = new Metrics();
  readonly #services: readonly Service[];
  readonly #begun: number;

  constructor(deps: GatewayDeps) {
    const { config, identity, clock, logger, version } = deps;
    this.#deps = deps;
    this.#begun = clock.monotonic();
    this.#stack = new ServiceStack(clock);
    this.#health = new Health(clock);
    const metrics = this.#metrics;
    const health = this.#health;
    const { limits } = config;
    const watch = new ClockWatch(clock);
    const quality = () => watch.quality;
    let derived = { bytes: 0 };
    this.#log = new Log({
      store: new LevelStore(join(config.stateDir, 'log'), { maxBytes: config.store.history.maxBytes, logger }),
      bootFile: new AtomicNumberFile(join(config.stateDir, 'boot')),
      space: new StateDisk({ directory: config.stateDir, health, logger: logger.child('disk'), metrics }),
      clock,
      quality,
      logger: logger.child('log'),
      metrics,
      health,
      options: logOptions(config),
      elsewhere: () => derived.bytes,
    });
    this.#users = new UsersFile(stateFile(config, config.auth.usersFile));
    const parts = { config, identity, clock, quality, logger, metrics, health, version };
    this.#tokens = tokenStore(parts);
    const throttle = new LoginThrottle(clock);
    this.#authenticator = new Authenticator(this.#users, config.auth.anonymous, this.#tokens, { throttle, clock });
    this.#rules = new AccessRules(config.auth.acl);
    const registry = new ConnectionRegistry({
      clock,
      logger: logger.child('connections'),
      metrics,
      journal: this.#log.events,
      maxClients: limits.clients,
    });
    this.#registry = registry;
    const pipeline = new Pipeline({
      log: this.#log,
      rules: this.#rules,
      clock,
      logger: logger.child('pipeline'),
      metrics,
      options: {
        maxPayload: limits.payload,
        retained: { maxMessages: limits.retained, maxBytes: limits.retainedBytes },
      },
    });
    const doors = {
      registry,
      authenticator: this.#authenticator,
      rules: this.#rules,
      journal: this.#log.events,
      sink: pipeline,
      source: pipeline,
    };
    const sessions = new SessionStore({
      store: new LevelStore(join(config.stateDir, 'sessions'), { verify: Number.POSITIVE_INFINITY, logger }),
      log: this.#log,
      source: pipeline,
      clock,
      quality,
      logger: logger.child('sessions'),
      metrics,
      health,
      limits: sessionLimits(config),
    });
    this.#sessions = sessions;
    this.#broker = new Broker({
      ...doors,
      sessions,
      appId: identity.appId,
      clock,
      logger: logger.child('mqtt'),
      metrics,
      maxSubscriptions: limits.subscriptionsPerClient,
      options: brokerOptions(config, identity.gatewayId, version),
      figures: () => upstreamFigures(this.#upstreams),
    });
    const resources = new CoapResources({
      ...doors,
      observers: {
        observe: (request, options) => this.#coap.observe(request, options),
        resume: (endpoint, kept, options) => this.#coap.resume(endpoint, kept, options),
        endpointAt: (place) => this.#coap.endpointAt(place),
      },
      kept: sessions.clients,
      keptObservers: sessions.observers,
      log: this.#log,
      clock,
      logger: logger.child('coap'),
      metrics,
      options: {
        mode: config.coap.mode,
        heartbeat: config.coap.heartbeat,
        appId: identity.appId,
        maxSubscriptions: limits.subscriptionsPerClient,
      },
    });
    this.#resources = resources;
    const psk = new PskFile(stateFile(config, config.auth.pskFile));
    const sockets = deps.sockets ?? [];
    this.#transports = new CoapTransports(config, { psk, sockets, clock, logger, metrics });
    this.#coap = new CoapServer({
      transports: this.#transports.all,
      clock,
      logger: logger.child('coap'),
      metrics,
      handler: resources,
      options: {
        maxPayload: limits.payload,
        maxPending: limits.coapPending,
        blockSize: config.coap.blockSize,
        ackTimeout: config.coap.ackTimeout,
        maxRetransmit: config.coap.maxRetransmit,
      },
    });
    const { index, indexStore } = queryIndex(parts, this.#log);
    derived = index;
    this.#rest = restServer({
      ...parts,
      queries: index,
      presence: new GatewayPresence(registry, this.#broker, resources),
      publisher: pipeline,
      tokens: this.#tokens,
      throttle,
      users: this.#users,
      status: () => this.status(),
    });
    this.#upstreams = config.upstream.map(
      (upstream) =>
        new Upstream({
          options: upstreamOptions(upstream, identity.gatewayId),
          log: this.#log,
          sink: pipeline,
          clock,
          logger,
          metrics,
          health,
          gatewayId: identity.gatewayId,
          version,
          age: (message) => this.#log.age(message),
          retained: (topic) => pipeline.retained.get(topic)?.id,
        }),
    );
    const control = new ControlSocket(config.stateDir, {
      answer: (request) => this.#control(request),
      logger: logger.child('control'),
      clock,
    });
    this.#services = [
      this.#log,
      startStep('store', () => this.#logOpen()),
      startStep('queues', async () => this.#holdQueues()),
      indexStore,
      pipeline,
      sessions,
      registry,
      this.#tokens,
      startStep('passwords', async () => this.#dropTokens()),
      // clients that an earlier run had are there again before a request comes in, and are sent to once that can be done
      startStep('coap clients', () => resources.restore()),
      index,
      processFigures(metrics, clock),
      ...this.#upstreams,
      this.#broker,
      this.#coap,
      startStep('coap observers', async () => resources.resume()),
      ...(this.#rest === undefined ? [] : [this.#rest]),
      control,
    ];
  }

  /**
   * Starts everything in order, or stops again what had started.
   * @throws HoldfastError `start_failed`.
   */
  async start(): Promise<void> {
    const { config } = this.#deps;
    await makeDirectory(config.stateDir, 0o750);
    await this.#users.load();
    await this.#transports.loadKeys();
    await this.#stack.start(this.#services, config.shutdownDeadline);
  }

  /** Stops taking, commits, lets go of the upstreams, closes; what does not stop within the deadline is named. */
  async stop(): Promise<void> {
    const { config, logger } = this.#deps;
    const failures = await this.#stack.stop(config.shutdownDeadline);
    for (const failure of failures) logger.error(failure, 'a part did not stop in order');
    if (failures.length > 0) throw new HoldfastError('unavailable', 'not everything stopped in order');
  }

  /** Takes over what a new configuration may change while running: logins and access rules. */
  async reload(config: Config): Promise<void> {
    // what can fail first: then nothing is taken over
    const gone = await this.#users.load();
    const revoked = await this.#transports.loadKeys();
    this.#registry.kick(
      ({ network, username }) => gone.has(username) || (network === 'coaps' && revoked.has(username)),
    );
    this.#resources.endUsers(gone);
    this.#dropTokens();
    this.#rules.replace(config.auth.acl);
    this.#authenticator.allowAnonymous(config.auth.anonymous);
  }

  /** Whether the log commits; asked by the watchdog, whose question shows that the event loop turns. */
  get healthy(): boolean {
    return this.#log.commitStalledFor < commitPatience;
  }

  status(): StatusReport {
    const { identity, version, clock } = this.#deps;
    const conditions = this.#health.active();
    const commits = this.#metrics.value('holdfast_log_commits_total') ?? 0;
    const spent = this.#metrics.value('holdfast_log_commit_milliseconds_total') ?? 0;
    return {
      version,
      gatewayId: identity.gatewayId,
      appId: identity.appId,
      uptime: Math.round(clock.monotonic() - this.#begun),
      state: stateOf(conditions),
      listeners: [
        ...this.#transports.all.map((transport) => transport.url),
        ...this.#broker.urls,
        ...(this.#rest === undefined ? [] : [this.#rest.url]),
      ],
      clients: { coap: this.#registry.count('coap'), mqtt: this.#registry.count('mqtt') },
      upstreams: this.#upstreams.map((upstream) => upstream.status()),
      store: {
        messages: this.#log.size.records,
        bytes: this.#log.size.bytes,
        commitLatency: commits === 0 ? 0 : Math.round((spent / commits) * 100) / 100,
        writable: this.#log.writable,
      },
      conditions,
    };
  }

  /** With a password that was changed, also while nothing ran, nobody has a way in any more. */
  #dropTokens(): void {
    this.#tokens.dropStale((name) => this.#users.stampOf(name));
  }

  /** Where the disk keeps the log from opening the others wait: they begin with what it holds. */
  #logOpen(): Promise<void> {
    if (this.#log.writable) return Promise.resolve();
    this.#deps.logger.error({}, 'the start waits for the store to open');
    return new Promise((resolve) => {
      const end = this.#log.onCommit(() => {
        if (!this.#log.writable) return;
        end();
        resolve();
      });
    });
  }

  /** Each upstream's queue is kept from here on; a cursor without an upstream holds nothing back. */
  #holdQueues(): void {
    for (const [index, { name, queue }] of this.#deps.config.upstream.entries()) {
      this.#log.holdFor(name, {
        dropped: (gap) => this.#upstreams[index]?.announceGap(gap),
        maxBytes: queue.maxBytes,
        maxRecords: queue.maxMessages ?? Number.MAX_SAFE_INTEGER,
        maxAge: queue.maxAge ?? Number.POSITIVE_INFINITY,
        overflow: queue.overflow,
      });
    }
    this.#sessions.hold();
    this.#log.dropOtherCursors();
  }

  async #control(request: ControlRequest): Promise<unknown> {
    if (request === 'status') return this.status();
    await this.#deps.usersChanged();
    return { ok: true };
  }
}
