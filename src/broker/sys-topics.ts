import type { Clock, Timer } from '../base/index.ts';
import { type Connected, type Disconnected, topicMatches } from '../domain/index.ts';
import { LoadAverage, loadMinutes } from './load-average.ts';

/** A topic below `$SYS/broker/`, and what reads its value. */
export type Figure = readonly [topic: string, read: () => string | number];

/** Counts that load averages are kept of, under Mosquitto's names. */
export type LoadCounts = Readonly<Record<string, () => number>>;

/** The hub, as far as it is needed: who would get a message, and giving it to them. */
export interface SysHub {
  hasSubscribers(topic: string): boolean;
  publish(topic: string, payload: string): void;
}

export interface SysDeps {
  readonly clock: Clock;
  readonly hub: SysHub;
  /** Milliseconds; 0 = no `$SYS` at all. */
  readonly interval: number;
  /** This gateway, in the topics of its clients. */
  readonly node: string;
  readonly figures: () => Iterable<Figure>;
  readonly loads: LoadCounts;
}

/** `$SYS`: figures that are worked out when somebody subscribes or is subscribed, and who comes and goes. QoS 0. */
export class SysTopics {
  readonly #deps: SysDeps;
  readonly #loads: ReadonlyMap<string, LoadAverage>;
  readonly #told = new Map<string, string>();
  #advanced: number;
  #timer: Timer | undefined;

  constructor(deps: SysDeps) {
    this.#deps = deps;
    this.#advanced = deps.clock.monotonic();
    this.#loads = new Map(Object.entries(deps.loads).map(([name, count]) => [name, new LoadAverage(count())]));
  }

  start(): void {
    const { clock, interval } = this.#deps;
    if (interval > 0) this.#timer = clock.every('$SYS', interval, () => this.#tick());
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** What a new subscriber to `filter` is told at once. */
  *matching(filter: string): Generator<{ readonly topic: string; readonly payload: Buffer }> {
    if (this.#deps.interval === 0 || !filter.startsWith('$SYS/')) return;
    for (const [topic, read] of this.#all()) {
      if (topicMatches(filter, topic)) yield { topic, payload: Buffer.from(`${read()}`) };
    }
  }

  /** A client came or went. */
  clientChanged(event: Connected | Disconnected): void {
    const { hub, node, clock, interval } = this.#deps;
    if (interval === 0) return;
    const topic = `$SYS/brokers/${node}/clients/${asLevel(event.clientId)}/${event.kind}`;
    if (hub.hasSubscribers(topic)) hub.publish(topic, JSON.stringify(describe(event, clock.wall())));
  }

  /** Tells who subscribes what has changed since the last time. */
  #tick(): void {
    const { clock, loads, hub } = this.#deps;
    const now = clock.monotonic();
    const passed = Math.max(1, now - this.#advanced);
    this.#advanced = now;
    for (const [name, load] of this.#loads) load.advance(loads[name]?.() ?? 0, passed);
    for (const [topic, read] of this.#all()) {
      if (!hub.hasSubscribers(topic)) {
        this.#told.delete(topic);
        continue;
      }
      const text = `${read()}`;
      if (this.#told.get(topic) === text) continue;
      this.#told.set(topic, text);
      hub.publish(topic, text);
    }
  }

  *#all(): Generator<Figure> {
    for (const [name, read] of this.#deps.figures()) yield [`$SYS/broker/${name}`, read];
    for (const [name, load] of this.#loads) {
      for (const [at, minutes] of loadMinutes.entries()) {
        yield [`$SYS/broker/load/${name}/${minutes}min`, () => (load.averages[at] ?? 0).toFixed(2)];
      }
    }
  }
}

/** A client id as one level of a topic. */
function asLevel(clientId: string): string {
  return clientId.replace(/[/+#%]/g, (character) => encodeURIComponent(character));
}

function describe(event: Connected | Disconnected, now: number): object {
  const { clientId, username, network, address, version, keepalive, clean, kind, reason } = event;
  const port = address.slice(address.lastIndexOf(':') + 1);
  const common = {
    clientid: clientId,
    username,
    protocol: network.startsWith('coap') ? 'coap' : 'mqtt',
    network,
    proto_ver: version,
    ipaddress: address.slice(0, Math.max(0, address.length - port.length - 1)).replace(/^\[|\]$/g, ''),
    sockport: Number(port) || 0,
    keepalive,
    clean_start: clean,
    ts: Math.round(now),
  };
  if (kind === 'connected') return { ...common, connected_at: Math.round(now) };
  return { ...common, reason, disconnected_at: Math.round(now) };
}
