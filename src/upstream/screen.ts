import type { Message, StoredMessage } from '../domain/index.ts';
import type { AgeOf, UpstreamLog } from './deps.ts';
import type { Gap } from './gap.ts';
import type { LatestByTopic } from './latest.ts';
import type { LinkSession, Outgoing } from './link.ts';
import { packetOf, propertiesOf, remainingExpiry } from './packet.ts';
import { publishLength } from './publish-encoder.ts';
import type { Refusals } from './refusals.ts';
import type { Mapped, TopicMap } from './topic-map.ts';
import type { UpstreamCounters } from './upstream-counters.ts';

export interface ScreenDeps {
  /** The upstream's name: of its cursor, and of what came from it. */
  readonly name: string;
  readonly gatewayId: string;
  readonly log: Pick<UpstreamLog, 'shedBelow'>;
  readonly topics: TopicMap;
  readonly counters: UpstreamCounters;
  readonly age: AgeOf;
  /** How long a message may wait to be sent, milliseconds; a rule may have its own. */
  readonly maxAge: number;
  /** Whether QoS 0 messages of the backlog are sent. */
  readonly queueQos0: boolean;
  /** The newest messages of topics of which only those are kept. */
  readonly latest: LatestByTopic | undefined;
  /** The id of a topic's retained message; given where messages overtake each other: an older one must not replace it. */
  readonly retained: ((topic: string) => bigint | undefined) | undefined;
  readonly refusals: Refusals;
  /** Messages are given up. */
  readonly gapped: (gap: Gap) => void;
}

type Reason = 'age' | 'qos0' | 'superseded';

/** Decides what of the log is sent, and how; counts what is not, a burst at a time. */
export class Screen {
  readonly #deps: ScreenDeps;
  /** Given up since that was last told. */
  readonly #burst = new Map<Reason, { readonly from: bigint; readonly to: bigint; readonly count: number }>();
  /** Ids below were told: after a loss of the link some are looked at again. */
  readonly #told = new Map<Reason, bigint>();

  constructor(deps: ScreenDeps) {
    this.#deps = deps;
  }

  /** Where a message goes; undefined where it is not wanted, or came from there. */
  mapped({ origin, upstream, topic }: Message): Mapped | undefined {
    return origin === 'upstream' && upstream === this.#deps.name ? undefined : this.#deps.topics.out(topic);
  }

  /**
   * The packet for `message`; undefined where it is not wanted, or not any more.
   * @param backlog whether it was logged before the link came up.
   * @param now monotonic milliseconds.
   */
  packet(message: StoredMessage, session: LinkSession, backlog: boolean, now: number): Outgoing | undefined {
    const mapped = this.mapped(message);
    if (mapped === undefined) return undefined;
    const { counters, gatewayId, refusals, latest, log, name, queueQos0 } = this.#deps;
    const { id, qos } = message;
    if (qos === 0 && ((backlog && !queueQos0) || id < log.shedBelow(name))) return this.#giveUp(id, 'qos0');
    if (mapped.latest && latest?.supersedes(message) === true) return this.#giveUp(id, 'superseded');
    const maxAge = mapped.maxAge ?? this.#deps.maxAge;
    const timed = message.expiry !== 0 || maxAge !== Number.POSITIVE_INFINITY;
    const age = timed ? this.#deps.age(message) : undefined;
    if (age !== undefined && age > maxAge) return this.#giveUp(id, 'age');
    const expiry = remainingExpiry(message.expiry, age);
    if (expiry === undefined) {
      counters.expired.add();
      return undefined;
    }
    const { limits, protocol } = session;
    const properties = protocol === '5' ? propertiesOf(message, gatewayId, expiry) : undefined;
    const packet = packetOf(message, mapped, limits, properties);
    const { maximumPacketSize } = limits;
    if (maximumPacketSize !== Number.POSITIVE_INFINITY && publishLength(packet, protocol === '5') > maximumPacketSize) {
      refusals.add(message.topic, 'packet_too_large', now);
      return undefined;
    }
    return backlog && packet.retain && this.#overtaken(message) ? { ...packet, retain: false } : packet;
  }

  /** Tells of what was given up since the last time. */
  tell(): void {
    for (const [reason, gap] of this.#burst) {
      this.#told.set(reason, gap.to);
      this.#deps.gapped({ ...gap, reason });
    }
    this.#burst.clear();
  }

  /** Whether the topic's retained message is a later one by now, or was cleared. */
  #overtaken({ id, topic, payload }: StoredMessage): boolean {
    const { retained } = this.#deps;
    if (retained === undefined) return false;
    const current = retained(topic);
    return current === undefined ? payload.length > 0 : current > id;
  }

  #giveUp(id: bigint, reason: Reason): undefined {
    if (id < (this.#told.get(reason) ?? 0n)) return undefined;
    const { from, count } = this.#burst.get(reason) ?? { from: id, count: 0 };
    this.#burst.set(reason, { from, to: id + 1n, count: count + 1 });
    return undefined;
  }
}
