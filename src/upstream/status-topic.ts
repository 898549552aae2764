import type { Clock, Timer } from '../base/index.ts';
import { formatMessageId } from '../domain/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { type Gap, Gaps, statusPayload } from './gap.ts';
import type { Link, LinkSession } from './link.ts';
import type { UpstreamCounters } from './upstream-counters.ts';

export interface StatusTopicDeps {
  readonly name: string;
  readonly topic: string;
  readonly gatewayId: string;
  readonly version?: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly counters: UpstreamCounters;
}

const gapDelay = 1_000;

/** The retained status message at the broker: online, offline, and which messages it will never see. */
export class StatusTopic {
  readonly #deps: StatusTopicDeps;
  readonly #gaps = new Gaps();
  #link: Link | undefined;
  #session: LinkSession | undefined;
  #since = 0;
  #update: Timer | undefined;

  constructor(deps: StatusTopicDeps) {
    this.#deps = deps;
  }

  /** What the broker publishes when the link is lost. */
  get will(): { readonly topic: string; readonly payload: Uint8Array } {
    const { topic, gatewayId } = this.#deps;
    return { topic, payload: statusPayload({ state: 'offline', gateway: gatewayId }) };
  }

  /** `acknowledged` is called where the broker says that it has the message. */
  online(link: Link, session: LinkSession, acknowledged: () => void): void {
    this.closed();
    this.#link = link;
    this.#session = session;
    this.#since = this.#deps.clock.wall();
    this.#publish('online', session.limits.maximumQos === 0 ? () => undefined : acknowledged);
  }

  /** Says so before a DISCONNECT, after which the broker drops the will. */
  offline(done: () => void): void {
    this.#since = this.#deps.clock.wall();
    this.#publish('offline', done);
  }

  closed(): void {
    this.#link = undefined;
    this.#session = undefined;
    this.#update?.cancel();
    this.#update = undefined;
  }

  /** Counts and announces a gap, once; one that goes on is logged when it begins. */
  gapped(gap: Gap): void {
    const { clock, counters, logger, name } = this.#deps;
    const how = this.#gaps.add(gap, clock.monotonic());
    if (how === 'known') return;
    counters.dropped(gap.reason).add(gap.count ?? 1);
    const { from, to, count, reason } = gap;
    if (how === 'new') {
      logger.warn(
        { upstream: name, from: formatMessageId(from), to: formatMessageId(to), count, reason },
        reason === 'superseded' ? 'messages were passed over for newer ones' : 'messages are given up unforwarded',
      );
    }
    this.#update ??= clock.after('upstream status', gapDelay, () => {
      this.#update = undefined;
      this.#publish('online', () => undefined);
    });
  }

  #publish(state: 'online' | 'offline', done: () => void): void {
    const { topic, gatewayId: gateway, version } = this.#deps;
    const limits = this.#session?.limits;
    if (limits === undefined) return;
    const payload = statusPayload({
      state,
      gateway,
      ...(version === undefined ? {} : { version }),
      since: Math.round(this.#since),
      gaps: this.#gaps.latest,
      lost: this.#gaps.lost,
    });
    const qos = limits.maximumQos === 0 ? 0 : 1;
    this.#link?.publish({ topic, payload, qos, retain: limits.retain, properties: undefined }, done);
  }
}
