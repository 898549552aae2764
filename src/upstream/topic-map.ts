import { type QoS, topicMatches } from '../domain/index.ts';
import type { UpstreamRule } from './options.ts';

/** A topic on the other side, and the highest QoS that its rule allows. */
export interface Mapped {
  readonly topic: string;
  readonly qos: QoS;
  /** How long a message may wait to be sent, milliseconds; undefined: as the queue has it. */
  readonly maxAge: number | undefined;
  /** Whether a newer message of the same topic makes it needless. */
  readonly latest: boolean;
}

export interface Subscription {
  /** The filter as the broker knows it. */
  readonly filter: string;
  readonly qos: QoS;
}

interface Compiled {
  readonly filter: string;
  readonly strip: number;
  readonly prefix: string;
  readonly rule: UpstreamRule;
}

const cacheLimit = 4_096;

function compile(from: string, to: string, rule: UpstreamRule): Compiled {
  return { filter: from + rule.topic, strip: from.length, prefix: to, rule };
}

function firstMatch(rules: readonly Compiled[], topic: string): Mapped | undefined {
  for (const { filter, strip, prefix, rule } of rules) {
    if (!topicMatches(filter, topic)) continue;
    const { qos, maxAge, keep } = rule;
    return { topic: prefix + topic.slice(strip), qos, maxAge, latest: keep === 'latest' };
  }
  return undefined;
}

/**
 * The rules of one upstream, applied as Mosquitto's bridge does: out, `localPrefix` is taken off and `remotePrefix` put
 * on; in, the reverse. The first rule that matches decides.
 */
export class TopicMap {
  readonly #out: readonly Compiled[];
  readonly #in: readonly Compiled[];
  /** Results of `out` by local topic: gateways see few topics, each many times. */
  readonly #cache = new Map<string, Mapped | undefined>();
  /** What to subscribe to at the broker, each filter once. */
  readonly subscriptions: readonly Subscription[];

  constructor(rules: readonly UpstreamRule[]) {
    const out = rules.filter((rule) => rule.direction !== 'in');
    const inward = rules.filter((rule) => rule.direction !== 'out');
    this.#out = out.map((rule) => compile(rule.localPrefix, rule.remotePrefix, rule));
    this.#in = inward.map((rule) => compile(rule.remotePrefix, rule.localPrefix, rule));
    const filters = new Map<string, QoS>();
    for (const { filter, rule } of this.#in) if (!filters.has(filter)) filters.set(filter, rule.qos);
    this.subscriptions = [...filters].map(([filter, qos]) => ({ filter, qos }));
  }

  /** Where a local topic goes at the broker; undefined where no rule takes it. */
  out(topic: string): Mapped | undefined {
    const known = this.#cache.get(topic);
    if (known !== undefined || this.#cache.has(topic)) return known;
    if (this.#cache.size >= cacheLimit) this.#cache.clear();
    const mapped = firstMatch(this.#out, topic);
    this.#cache.set(topic, mapped);
    return mapped;
  }

  /** Whether there is a rule by which only the latest message of a topic is kept. */
  get keepsLatest(): boolean {
    return this.#out.some(({ rule }) => rule.keep === 'latest');
  }

  /** Where a topic of the broker goes here; undefined where no rule takes it. */
  in(topic: string): Mapped | undefined {
    return firstMatch(this.#in, topic);
  }

  /** Whether a message sent to `remoteTopic` comes back through a subscription of ours. */
  echoes(remoteTopic: string): boolean {
    return this.#in.some(({ filter }) => topicMatches(filter, remoteTopic));
  }
}
