import { Backoff, type Clock, reasonOf, type Service, type Timer } from '../base/index.ts';
import { bootOf, positionOf } from '../domain/index.ts';
import type { Condition, Health, Logger, Metrics } from '../telemetry/index.ts';
import { readCredentials, shownUrl } from './credentials.ts';
import type { AgeOf, DownlinkSink, UpstreamLog } from './deps.ts';
import { Dialects } from './dialects.ts';
import { Downlink } from './downlink.ts';
import { Drainer } from './drainer.ts';
import { EchoFilter } from './echo-filter.ts';
import type { Gap } from './gap.ts';
import type { ConnectLink, Link, LinkEnd, LinkSession, LinkTarget } from './link.ts';
import { targetOf } from './link-target.ts';
import { mqttConnector } from './mqtt-link.ts';
import type { UpstreamOptions, UpstreamStatus } from './options.ts';
import { StatusTopic } from './status-topic.ts';
import { Subscriber } from './subscriber.ts';
import { TopicMap } from './topic-map.ts';
import { UpstreamCounters, upstreamGauges } from './upstream-counters.ts';

export interface UpstreamDeps {
  readonly options: UpstreamOptions;
  readonly log: UpstreamLog;
  readonly sink: DownlinkSink;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly health: Health;
  readonly gatewayId: string;
  /** Shown on the status topic. */
  readonly version?: string;
  readonly age: AgeOf;
  /** The id of the retained message of a topic here. */
  readonly retained?: (topic: string) => bigint | undefined;
  /** Numbers in [0, 1). */
  readonly random?: () => number;
  readonly connect?: ConnectLink;
}

/** No link to an upstream for a minute. */
export const upstreamDown: Condition = {
  code: 'upstream_down',
  severity: 'degraded',
  text: 'An upstream broker cannot be reached; messages for it are kept.',
};

const downAfter = 60_000;
const stableAfter = 10_000;
/** Above what a 3.1.1 broker, which knows no Receive Maximum, has unacknowledged at once (nats-server: 1,024). */
const maxDownlinks = 2_048;
const maxDownlinkBytes = 8 * 1_024 * 1_024;
const retainRefused = 0x9a;
/** 2024-01-01: a wall clock before it was never set. */
const clockNeverSet = 1_704_067_200_000;

/** Forwards the log to the brokers of one `[[upstream]]`, and brings what they send into it. */
export class Upstream implements Service {
  readonly name: string;
  readonly #deps: UpstreamDeps;
  readonly #options: UpstreamOptions;
  readonly #logger: Logger;
  readonly #topics: TopicMap;
  readonly #counters: UpstreamCounters;
  readonly #drainer: Drainer;
  readonly #downlink: Downlink;
  readonly #dialects: Dialects;
  readonly #backoff: Backoff;
  readonly #connect: ConnectLink;
  readonly #status: StatusTopic;
  readonly #subscriber: Subscriber;
  #state: UpstreamStatus['state'] = 'stopped';
  #url: string;
  #next = 0;
  #attempts = 0;
  #link: Link | undefined;
  #session: LinkSession | undefined;
  #stable = false;
  #willRetain = true;
  #lastError: string | undefined;
  #loggedError: string | undefined;
  #ended: (() => void) | undefined;
  #unfollow: (() => void) | undefined;
  readonly #timers = new Map<'retry' | 'down' | 'stable', Timer>();

  constructor(deps: UpstreamDeps) {
    const { options, log, sink, clock, metrics, gatewayId, age } = deps;
    const random = deps.random ?? Math.random;
    this.name = `upstream ${options.name}`;
    this.#deps = deps;
    this.#options = options;
    this.#logger = deps.logger.child('upstream');
    this.#topics = new TopicMap(options.rules);
    this.#counters = new UpstreamCounters(metrics, options.name);
    this.#dialects = new Dialects(options.protocol);
    this.#backoff = new Backoff(options.backoff, random);
    this.#connect = deps.connect ?? mqttConnector(clock);
    this.#url = options.urls[0] ?? '';
    const shared = { name: options.name, topics: this.#topics, clock, logger: this.#logger, random };
    this.#subscriber = new Subscriber(options.name, this.#topics.subscriptions, this.#logger);
    this.#status = new StatusTopic({
      ...shared,
      counters: this.#counters,
      topic: options.statusTopic ?? `holdfast/${options.clientId}/status`,
      gatewayId,
      ...(deps.version === undefined ? {} : { version: deps.version }),
    });
    this.#drainer = new Drainer({
      ...shared,
      counters: this.#counters,
      gatewayId,
      log,
      age,
      window: options.window,
      ackTimeout: options.ackTimeout,
      replay: options.replay,
      queueQos0: options.queue.qos0,
      maxAge: options.queue.maxAge ?? Number.POSITIVE_INFINITY,
      retained: options.replay.order === 'live_first' ? deps.retained : undefined,
      gapped: (gap) => this.#status.gapped(gap),
    });
    this.#downlink = new Downlink({
      ...shared,
      counters: this.#counters,
      sink,
      maxMessages: maxDownlinks,
      maxBytes: maxDownlinkBytes,
    });
    upstreamGauges(metrics, options.name, () => this.status());
  }

  /** Begins to connect; does not wait for a broker. */
  async start(): Promise<void> {
    const [{ log }, { name }] = [this.#deps, this.#options];
    const cursor = log.cursor(name);
    if (cursor === undefined) log.moveCursor(name, this.#options.startFrom === 'oldest' ? log.head : log.next);
    else if (cursor > log.next) {
      this.#logger.warn(
        { upstream: name },
        'the cursor lies beyond the log, which was replaced: begins with what it holds',
      );
      log.moveCursor(name, log.head);
    }
    this.#unfollow = this.#drainer.follow();
    this.#armDown();
    this.#attempt();
  }

  /** Waits a little for acknowledgements, says `offline`, and disconnects. Takes at most three times `stopGrace`. */
  async stop(): Promise<void> {
    if (this.#state === 'stopped') return;
    const link = this.#link;
    const session = this.#session;
    this.#state = 'stopped';
    this.#unfollow?.();
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
    if (link !== undefined && session !== undefined) {
      await this.#within((done) => this.#drainer.quiesce(done));
      if (this.#link === link) {
        await this.#within((done) => this.#status.offline(done));
      }
    }
    this.#drainer.detach();
    this.#downlink.closed();
    this.#status.closed();
    if (this.#link !== undefined) {
      await this.#within((done) => {
        this.#ended = done;
        if (session === undefined) this.#link?.abort('stopping');
        else this.#link?.disconnect();
      });
    }
    this.#deps.health.clear(upstreamDown, this.#options.name);
  }

  /** Counts and announces messages that the log gave up at a bound. */
  announceGap(gap: Gap): void {
    this.#status.gapped(gap);
  }

  /** What `status` and the REST page show. */
  status(): UpstreamStatus {
    const { log } = this.#deps;
    const queued = log.queued?.(this.#options.name);
    return {
      name: this.#options.name,
      url: shownUrl(this.#url),
      state: this.#state,
      protocol: this.#session?.protocol,
      queuedMessages: queued?.messages ?? recordsBetween(log.cursor(this.#options.name) ?? log.next, log.next),
      queuedBytes: queued?.bytes,
      oldestAge: queued?.oldestAge ?? this.#drainer.oldestAge,
      inFlight: this.#drainer.inFlight,
      lastError: this.#lastError,
    };
  }

  #attempt(): void {
    this.#state = 'connecting';
    this.#url = this.#options.urls[this.#next] ?? this.#url;
    const url = this.#url;
    if (this.#attempts > 0) this.#counters.reconnects.add();
    this.#attempts += 1;
    readCredentials(this.#options, url).then(
      (credentials) => {
        if (this.#state !== 'connecting') return;
        const will = { ...this.#status.will, retain: this.#willRetain };
        const dialect = this.#dialects.for(url, this.#deps.clock.monotonic());
        const target = targetOf(this.#options, url, dialect, will, credentials, this.#drainer.suspects.maximumQos);
        // MQTT 5 has "no local", Mosquitto's bridge bit does the same; plain 3.1.1 has nothing.
        const echo = dialect === '3.1.1' && this.#topics.subscriptions.length > 0 ? new EchoFilter() : undefined;
        const link: Link = this.#connect(target, {
          up: (session) => this.#up(link, target, session, echo),
          down: (end) => this.#down(link, url, end),
          received: (incoming, acknowledge) => {
            // before `up` too: a session's messages come with its CONNACK, once, and are never sent again on that link
            if (this.#link === link && this.#state !== 'stopped') this.#downlink.received(incoming, acknowledge);
          },
        });
        this.#link = link;
        this.#downlink.opened({ echo, abort: (reason) => link.abort(reason) });
      },
      (thrown: unknown) => {
        if (this.#state !== 'connecting') return;
        this.#dialects.failed(url);
        this.#retry(reasonOf(thrown), true);
      },
    );
  }

  #up(link: Link, target: LinkTarget, session: LinkSession, echo: EchoFilter | undefined): void {
    if (this.#link !== link || this.#state !== 'connecting') return;
    const { health } = this.#deps;
    const { url, dialect } = target;
    this.#state = 'connected';
    this.#session = session;
    this.#stable = false;
    this.#lastError = undefined;
    this.#loggedError = undefined;
    this.#dialects.accepted(url);
    this.#disarm('down');
    health.clear(upstreamDown, this.#options.name);
    this.#logger.info(
      { upstream: this.#options.name, url: shownUrl(url), protocol: dialect, resumed: session.sessionPresent },
      'upstream connected',
    );
    this.#arm('stable', stableAfter, () => {
      this.#stable = true;
      this.#backoff.reset();
    });
    this.#subscriber.subscribe(link, url, session);
    this.#status.online(link, session, () => this.#drainer.proven(link));
    this.#drainer.attach(link, session, echo);
  }

  #down(link: Link, url: string, end: LinkEnd): void {
    if (this.#link !== link) return;
    const now = this.#deps.clock.monotonic();
    const wasUp = this.#session !== undefined;
    this.#link = undefined;
    this.#session = undefined;
    this.#disarm('stable');
    this.#drainer.detach(end.closed);
    this.#downlink.closed();
    this.#status.closed();
    if (this.#state === 'stopped') {
      this.#ended?.();
      return;
    }
    if (end.releasing === true && end.closed === true) this.#drainer.suspects.closedOnRelease();
    if (wasUp) {
      this.#armDown();
      this.#retry(end.reason, !this.#stable);
      return;
    }
    if (end.code === retainRefused && this.#willRetain) {
      this.#willRetain = false;
      this.#attempt();
      return;
    }
    if (end.dialect !== undefined) {
      if (this.#dialects.refused(url, end.dialect === 'refused', now)) {
        this.#attempt();
        return;
      }
    } else this.#dialects.failed(url);
    this.#retry(end.reason, true);
  }

  /** Waits, then tries the next URL (`failover`), or after a link that had held the first one again. */
  #retry(reason: string, failover: boolean): void {
    const { clock } = this.#deps;
    const wait = this.#backoff.next();
    this.#state = 'waiting';
    this.#lastError = reason;
    if (this.#loggedError !== reason) {
      this.#loggedError = reason;
      const text =
        clock.wall() < clockNeverSet && reason.includes('not yet valid')
          ? 'upstream not connected: waiting for the clock to be set'
          : 'upstream not connected';
      this.#logger.warn({ upstream: this.#options.name, url: shownUrl(this.#url), reason, wait }, text);
    }
    this.#next = failover ? (this.#next + 1) % Math.max(1, this.#options.urls.length) : 0;
    this.#arm('retry', wait, () => this.#attempt());
  }

  #armDown(): void {
    if (this.#timers.has('down')) return;
    this.#arm('down', downAfter, () =>
      this.#deps.health.raise(
        upstreamDown,
        `${this.#options.name}: ${this.#lastError ?? 'no answer'}`,
        this.#options.name,
      ),
    );
  }

  #arm(name: 'retry' | 'down' | 'stable', ms: number, run: () => void): void {
    this.#disarm(name);
    const timer = this.#deps.clock.after(`upstream ${name}`, ms, () => {
      this.#timers.delete(name);
      run();
    });
    this.#timers.set(name, timer);
  }

  #disarm(name: 'retry' | 'down' | 'stable'): void {
    this.#timers.get(name)?.cancel();
    this.#timers.delete(name);
  }

  /** Runs `begin`, and goes on when it is done, or the link is gone, or the grace is over. */
  #within(begin: (done: () => void) => void): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#deps.clock.after('upstream stop', this.#options.stopGrace ?? 1_000, resolve);
      const done = () => {
        timer.cancel();
        resolve();
      };
      this.#ended = done;
      begin(done);
    });
  }
}

/** Records from one id to another: exact within a boot, otherwise what the later boot holds. */
function recordsBetween(from: bigint, to: bigint): number {
  if (from >= to) return 0;
  return bootOf(from) === bootOf(to) ? Number(to - from) : positionOf(to);
}
