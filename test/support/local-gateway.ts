import { systemClock } from '../../src/base/index.ts';
import { Broker, type MqttListenerOptions } from '../../src/broker/index.ts';
import { AccessRules, type AclRule, Authenticator, ConnectionRegistry } from '../../src/connections/index.ts';
import type { Log } from '../../src/log/index.ts';
import { Log as RealLog } from '../../src/log/index.ts';
import { Pipeline } from '../../src/pipeline/index.ts';
import { defaultSessionLimits, type SessionLimits, SessionStore } from '../../src/sessions/index.ts';
import { Health, Metrics, silentLogger } from '../../src/telemetry/index.ts';
import { defaults } from '../log/support.ts';
import { FakeDisk } from './fake-disk.ts';
import { MemoryNumberFile, MemoryStore } from './memory-store.ts';
import { type Passwords, plainPasswords } from './plain-passwords.ts';

export interface LocalGateway {
  readonly store: MemoryStore;
  readonly sessions: MemoryStore;
  readonly sessionStore: SessionStore;
  readonly metrics: Metrics;
  readonly health: Health;
  readonly log: Log;
  readonly pipeline: Pipeline;
  readonly registry: ConnectionRegistry;
  readonly broker: Broker;
  readonly port: number;
  readonly bootFile: MemoryNumberFile;
  stop(): Promise<void>;
}

/** Log in memory, pipeline and broker on a free loopback port, put together as the gateway does it. */
export async function startLocalGateway(
  given: {
    rules?: readonly AclRule[];
    passwords?: Passwords;
    anonymous?: boolean;
    listener?: Partial<MqttListenerOptions>;
    maxPayload?: number;
    /** Disks of an earlier run. */
    disks?: { store: MemoryStore; sessions: MemoryStore; bootFile: MemoryNumberFile };
    limits?: Partial<SessionLimits>;
    connectRate?: number;
    sys?: { interval?: number };
    queue?: { maxQueued?: number; maxQueuedBytes?: number };
  } = {},
): Promise<LocalGateway> {
  const { store, sessions, bootFile } = given.disks ?? {
    store: new MemoryStore(),
    sessions: new MemoryStore(),
    bootFile: new MemoryNumberFile(),
  };
  const metrics = new Metrics();
  const health = new Health(systemClock);
  const base = { clock: systemClock, logger: silentLogger, metrics };
  const log = new RealLog({
    ...base,
    store,
    bootFile,
    space: new FakeDisk(),
    quality: () => 'synced',
    health,
    options: defaults,
  });
  const rules = new AccessRules(given.rules ?? []);
  const authenticator = new Authenticator(plainPasswords(given.passwords), given.anonymous ?? true);
  const registry = new ConnectionRegistry({ ...base, journal: log.events, maxClients: 100 });
  const pipeline = new Pipeline({
    ...base,
    log,
    rules,
    options: { maxPayload: given.maxPayload ?? 65_536, retained: { maxMessages: 100, maxBytes: 1_000_000 } },
  });
  const sessionStore = new SessionStore({
    ...base,
    store: sessions,
    log,
    source: pipeline,
    quality: () => 'synced',
    health,
    limits: { ...defaultSessionLimits, ...given.limits },
  });
  const broker = new Broker({
    ...base,
    sessions: sessionStore,
    appId: 'app',
    authenticator,
    rules,
    registry,
    journal: log.events,
    sink: pipeline,
    source: pipeline,
    maxSubscriptions: 100,
    options: {
      listeners: [
        {
          scheme: 'mqtt',
          host: '127.0.0.1',
          port: 0,
          maxConnections: 100,
          maxPacket: 100_000,
          maxConnect: 80_000,
          ...given.listener,
        },
      ],
      connectTimeout: 10_000,
      maxInflight: 100,
      connectRate: given.connectRate ?? 0,
      queue: { maxQueued: 1_000, maxQueuedBytes: 1_000_000, ...given.queue },
      sys: { interval: 10_000, node: 'gw', version: '0', ...given.sys },
    },
  });
  const services = [log, pipeline, sessionStore, registry, broker];
  for (const service of services) await service.start();
  return {
    store,
    sessions,
    sessionStore,
    bootFile,
    metrics,
    health,
    log,
    pipeline,
    registry,
    broker,
    port: Number(new URL(broker.urls[0] ?? '').port),
    stop: async () => {
      store.release();
      sessions.release();
      for (const service of [...services].reverse()) await service.stop();
    },
  };
}
