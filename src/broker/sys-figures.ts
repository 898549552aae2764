import type { Client } from 'aedes';
import type { Clock } from '../base/index.ts';
import type { ConnectionRegistry } from '../connections/index.ts';
import type { Sessions } from '../sessions/index.ts';
import type { Metrics } from '../telemetry/index.ts';
import { subscriptionsOf } from './forwarding.ts';
import type { Figure, LoadCounts } from './sys-topics.ts';
import type { Traffic } from './traffic.ts';

export interface FigureSources {
  readonly version: string;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly registry: ConnectionRegistry;
  readonly sessions: Sessions;
  readonly traffic: Traffic;
  readonly clients: () => Iterable<Client>;
  /** Bytes over all listeners. */
  readonly bytes: { readonly received: () => number; readonly sent: () => number };
  /** What other parts add. */
  readonly others: () => Iterable<Figure>;
}

/** What `$SYS/broker/` has, under the names that Mosquitto gives it. `clients/` are those of MQTT unless they say so. */
export function sysFigures(sources: FigureSources): () => Iterable<Figure> {
  const { version, clock, metrics, registry, sessions, traffic, clients, bytes, others } = sources;
  const begun = clock.monotonic();
  const connected = () => registry.count('mqtt');
  const away = () => sessions.away;
  const fixed: readonly Figure[] = [
    ['version', () => `holdfast version ${version}`],
    ['uptime', () => `${Math.floor((clock.monotonic() - begun) / 1_000)} seconds`],
    ['clients/connected', connected],
    ['clients/disconnected', away],
    ['clients/total', () => connected() + away()],
    ['clients/maximum', () => registry.most('mqtt')],
    ['clients/expired', () => sessions.expired],
    ['clients/coap/connected', () => registry.count('coap')],
    ['clients/coap/maximum', () => registry.most('coap')],
    ['messages/received', () => traffic.received.value],
    ['messages/sent', () => traffic.sent.value],
    ['publish/messages/received', () => traffic.publishesReceived.value],
    ['publish/messages/sent', () => traffic.publishesSent.value],
    ['publish/messages/dropped', () => traffic.publishesDropped.value + dropped(metrics)],
    ['bytes/received', bytes.received],
    ['bytes/sent', bytes.sent],
    ['messages/stored', () => metrics.value('holdfast_session_queue_messages') ?? 0],
    ['store/messages/bytes', () => metrics.value('holdfast_session_queue_bytes') ?? 0],
    ['retained messages/count', () => metrics.value('holdfast_retained_messages') ?? 0],
    ['subscriptions/count', () => subscriptions(clients(), sessions)],
  ];
  return function* all() {
    yield* fixed;
    yield* others();
  };
}

export function loadCounts({ traffic, bytes }: Pick<FigureSources, 'traffic' | 'bytes'>): LoadCounts {
  return {
    'messages/received': () => traffic.received.value,
    'messages/sent': () => traffic.sent.value,
    'publish/received': () => traffic.publishesReceived.value,
    'publish/sent': () => traffic.publishesSent.value,
    'bytes/received': bytes.received,
    'bytes/sent': bytes.sent,
    connections: () => traffic.connections.value,
  };
}

function dropped(metrics: Metrics): number {
  let count = 0;
  for (const { name, read } of metrics.series()) if (name === 'holdfast_session_dropped_total') count += read();
  return count;
}

function subscriptions(clients: Iterable<Client>, sessions: Sessions): number {
  let count = sessions.subscriptions;
  for (const client of clients) if (client.clean) count += Object.keys(subscriptionsOf(client)).length;
  return count;
}
