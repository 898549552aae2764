import { CoapResources, CoapServer, type Transport } from '../../../src/coap/index.ts';
import { AccessRules, type AclRule, Authenticator, ConnectionRegistry } from '../../../src/connections/index.ts';
import type { Message } from '../../../src/domain/index.ts';
import { Pipeline } from '../../../src/pipeline/index.ts';
import { defaultSessionLimits, SessionStore } from '../../../src/sessions/index.ts';
import { Health, type Logger, Metrics, silentLogger } from '../../../src/telemetry/index.ts';
import { makeLog, message, settle } from '../../log/support.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryNumberFile, MemoryStore } from '../../support/memory-store.ts';
import { type Passwords, plainPasswords } from '../../support/plain-passwords.ts';

/** What outlives a run. */
export interface Disks {
  readonly log: MemoryStore;
  readonly sessions: MemoryStore;
  readonly bootFile: MemoryNumberFile;
}

export interface SiteOptions {
  readonly mode?: 'connection' | 'connectionless';
  readonly anonymous?: boolean;
  readonly passwords?: Passwords;
  readonly rules?: readonly AclRule[];
  readonly maxSubscriptions?: number;
  readonly logger?: Logger;
  readonly clock?: FakeClock;
  readonly disks?: Disks;
}

export type Site = Awaited<ReturnType<typeof startSite>>;

/** The CoAP side as the gateway puts it together: log, sessions and pipeline in memory, under a fake clock. */
export async function startSite(
  transports: (base: { clock: FakeClock; logger: Logger; metrics: Metrics }) => readonly Transport[],
  given: SiteOptions = {},
) {
  const clock = given.clock ?? new FakeClock();
  const disks = given.disks ?? {
    log: new MemoryStore(),
    sessions: new MemoryStore(),
    bootFile: new MemoryNumberFile(),
  };
  const { log } = makeLog(disks.log, { clock, bootFile: disks.bootFile });
  const base = { clock, logger: given.logger ?? silentLogger, metrics: new Metrics() };
  const rules = new AccessRules(given.rules ?? []);
  const registry = new ConnectionRegistry({ ...base, journal: log.events, maxClients: 100 });
  const retained = { maxMessages: 100, maxBytes: 100_000 };
  const pipeline = new Pipeline({ ...base, log, rules, options: { maxPayload: 1_000, retained } });
  const health = new Health(clock);
  const sessions = new SessionStore({
    ...base,
    store: disks.sessions,
    log,
    source: pipeline,
    quality: () => 'synced',
    health,
    limits: defaultSessionLimits,
  });
  const resources = new CoapResources({
    ...base,
    sink: pipeline,
    source: pipeline,
    journal: log.events,
    registry,
    authenticator: new Authenticator(plainPasswords(given.passwords), given.anonymous ?? true),
    rules,
    observers: {
      observe: (asked, options) => server.observe(asked, options),
      resume: (endpoint, kept, options) => server.resume(endpoint, kept, options),
      endpointAt: (place) => server.endpointAt(place),
    },
    kept: sessions.clients,
    keptObservers: sessions.observers,
    log,
    options: {
      mode: given.mode ?? 'connection',
      heartbeat: 30_000,
      appId: 'app',
      maxSubscriptions: given.maxSubscriptions ?? 10,
    },
  });
  const server: CoapServer = new CoapServer({ ...base, transports: transports(base), handler: resources });
  const running: { stop(): Promise<void> }[] = [];
  const start = async (service: { start(): Promise<void>; stop(): Promise<void> }) => {
    await service.start();
    running.push(service);
  };
  for (const service of [log, pipeline, sessions, registry]) await start(service);
  await resources.restore();
  await start(server);
  resources.resume();
  const publish = async (topic: string, payload: string, changes: Partial<Message> = {}) => {
    pipeline.publish(message(payload, topic, changes), () => undefined);
    await settle(clock);
  };
  return {
    base,
    clock,
    disks,
    health,
    log,
    pipeline,
    publish,
    registry,
    resources,
    server,
    sessions,
    stop: async () => {
      for (const service of running.splice(0).reverse()) await service.stop();
    },
  };
}
