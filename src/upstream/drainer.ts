import { Backoff, type Clock, reasonOf, type Timer } from '../base/index.ts';
import type { Message, StoredMessage } from '../domain/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { AckWindow } from './ack-window.ts';
import type { AgeOf, Deliverer, UpstreamLog } from './deps.ts';
import type { EchoFilter } from './echo-filter.ts';
import type { Gap } from './gap.ts';
import type { Link, LinkSession, Outgoing } from './link.ts';
import { packetOf, propertiesOf, remainingExpiry } from './packet.ts';
import { PageReader } from './page-reader.ts';
import { publishLength } from './publish-encoder.ts';
import { Refusals } from './refusals.ts';
import { TokenBucket } from './token-bucket.ts';
import type { TopicMap } from './topic-map.ts';
import type { UpstreamCounters } from './upstream-counters.ts';

export interface DrainerDeps {
  /** The upstream's name: of its cursor, and of what came from it. */
  readonly name: string;
  readonly gatewayId: string;
  readonly log: UpstreamLog;
  readonly topics: TopicMap;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly counters: UpstreamCounters;
  readonly age: AgeOf;
  readonly random: () => number;
  readonly window: number;
  /** Milliseconds. */
  readonly ackTimeout: number;
  /** Messages per second of the backlog; 0 = no limit. */
  readonly replayRate: number;
  /** How long a message may wait to be sent, milliseconds. */
  readonly maxAge: number;
  /** Whether QoS 0 messages of the backlog are sent. */
  readonly queueQos0: boolean;
  /** Messages were lost before they could be sent. */
  readonly gapped: (gap: Gap) => void;
}

/** Reason codes that ask for another attempt with the same message: quota exceeded, packet identifier in use. */
const retryCodes: ReadonlySet<number> = new Set([0x97, 0x91]);
/** Messages looked at in one go, so that a long stretch of filtered ones does not hold up everything else. */
const stretch = 512;

/** A message on its way. */
interface Sent {
  readonly slot: number;
  readonly id: bigint;
  readonly packet: Outgoing;
}

/** One link's worth of draining: dropped as a whole when the link goes, so that nothing late can touch the next one. */
interface Run {
  readonly link: Link;
  readonly session: LinkSession;
  readonly window: AckWindow<StoredMessage>;
  readonly pages: PageReader;
  readonly bucket: TokenBucket;
  readonly echo: EchoFilter | undefined;
  readonly limit: number;
  /** Ids below were logged before the link came up. */
  readonly backlogEnd: bigint;
  readonly again: Sent[];
  readonly ackCheck: Timer;
  later: Timer | undefined;
  heldUntil: number;
  /** Messages found too old since that was last told. */
  aged: { readonly from: bigint; readonly to: bigint; readonly count: number } | undefined;
}

/**
 * Sends the log to a link, in id order from the cursor, with at most a window of messages unacknowledged, and moves the
 * cursor along the contiguous acknowledged prefix. Acknowledgements that come together are answered by one stretch of
 * sending, which leaves in one write.
 */
export class Drainer implements Deliverer {
  readonly #deps: DrainerDeps;
  readonly #quota: Backoff;
  readonly #refusals: Refusals;
  #run: Run | undefined;
  #scheduled: Timer | undefined;
  #quiesced: (() => void) | undefined;

  constructor(deps: DrainerDeps) {
    this.#deps = deps;
    this.#refusals = new Refusals(deps);
    this.#quota = new Backoff({ base: 1_000, cap: 30_000 }, deps.random);
  }

  get inFlight(): number {
    return this.#run?.window.open ?? 0;
  }

  /** Milliseconds since the oldest message not yet acknowledged was accepted, where that is known. */
  get oldestAge(): number | undefined {
    const oldest = this.#run?.window.oldest?.item ?? this.#run?.pages.peek();
    return oldest === undefined ? undefined : this.#deps.age(oldest);
  }

  /** The link is up: begins at the cursor. `echo` remembers what was sent where the broker would send it back. */
  attach(link: Link, session: LinkSession, echo: EchoFilter | undefined): void {
    this.detach();
    const { log, name, clock, ackTimeout } = this.#deps;
    const from = log.cursor(name) ?? log.head;
    const run: Run = {
      link,
      session,
      window: new AckWindow(from),
      pages: new PageReader({
        log,
        from,
        cursor: () => log.cursor(name) ?? from,
        gapped: this.#deps.gapped,
        ready: () => this.#schedule(),
        failed: (thrown) => this.#readFailed(run, thrown),
      }),
      bucket: new TokenBucket(this.#deps.replayRate, clock.monotonic()),
      echo,
      limit: Math.max(1, Math.min(this.#deps.window, session.limits.receiveMaximum)),
      backlogEnd: log.next,
      again: [],
      ackCheck: clock.every('upstream ack timeout', Math.max(100, ackTimeout / 4), () => this.#checkAcks(run)),
      later: undefined,
      heldUntil: 0,
      aged: undefined,
    };
    this.#run = run;
    this.#schedule();
  }

  /** The link is gone: what was in flight is forgotten, the cursor stays where it is. */
  detach(): void {
    const run = this.#run;
    if (run === undefined) return;
    this.#moveCursor(run);
    this.#run = undefined;
    this.#scheduled?.cancel();
    this.#scheduled = undefined;
    run.ackCheck.cancel();
    run.later?.cancel();
    this.#quiesced?.();
    this.#quiesced = undefined;
  }

  /** Hears of what comes into the log from now on; returns what ends that. */
  follow(): () => void {
    const uncommit = this.#deps.log.onCommit(() => this.grown());
    const leave = this.#deps.log.deliverThrough(this);
    return () => {
      leave();
      uncommit();
    };
  }

  /** There is more in the log than there was. */
  grown(): void {
    this.#run?.pages.grown();
    this.#schedule();
  }

  /** Whether a message just accepted is wanted, and whether it goes out in the next turn. */
  takes(message: Message, id: bigint): 'no' | 'now' | 'later' {
    const run = this.#run;
    if (run === undefined) return 'later';
    const mapped = this.#mapped(message);
    if (mapped === undefined) return 'no';
    const waiting = run.pages.waitingBelow(id);
    const held = this.#quiesced !== undefined || run.heldUntil > this.#deps.clock.monotonic();
    const qos = Math.min(message.qos, mapped.qos, run.session.limits.maximumQos);
    if (waiting === undefined || held || qos === 0 || run.window.size + waiting >= run.limit) return 'later';
    this.grown();
    return 'now';
  }

  /** Sends nothing more; calls `done` once nothing is in flight. */
  quiesce(done: () => void): void {
    if (this.inFlight === 0) done();
    this.#quiesced = this.inFlight === 0 ? () => undefined : done;
  }

  #schedule(): void {
    if (this.#run === undefined || this.#scheduled !== undefined) return;
    this.#scheduled = this.#deps.clock.soon('upstream drain', () => {
      this.#scheduled = undefined;
      if (this.#run !== undefined) this.#fill(this.#run);
    });
  }

  #fill(run: Run): void {
    const now = this.#deps.clock.monotonic();
    if (this.#quiesced === undefined && now >= run.heldUntil) {
      for (let again = run.again.shift(); again !== undefined; again = run.again.shift()) {
        run.window.resent(again.slot, now);
        this.#publish(run, again, now);
      }
      // Whatever room there is is filled: a broker that does not set TCP_NODELAY holds its other acknowledgements back until
      // the first one is answered, by data or by a delayed ACK after 40 ms.
      this.#fillWindow(run, now);
    }
    this.#moveCursor(run);
  }

  #fillWindow(run: Run, now: number): void {
    let left = stretch;
    while (left > 0 && run.window.size < run.limit && run.heldUntil <= now) {
      const message = run.pages.peek();
      if (message === undefined) break;
      const wait = this.#send(run, message, now);
      if (wait > 0) {
        this.#later(run, wait);
        break;
      }
      left -= 1;
    }
    if (run.aged !== undefined) this.#deps.gapped({ ...run.aged, reason: 'age' });
    run.aged = undefined;
    if (left === 0) this.#schedule();
    const passed = run.pages.passed;
    if (passed !== undefined) run.window.pass(passed);
  }

  /** Sends or passes over one message; a number above 0 = the milliseconds until it may be sent. */
  #send(run: Run, message: StoredMessage, now: number): number {
    const { counters } = this.#deps;
    const next = message.id + 1n;
    const mapped = this.#mapped(message);
    if (mapped === undefined) return this.#pass(run, next);
    const backlog = message.id < run.backlogEnd;
    if (backlog && message.qos === 0 && !this.#deps.queueQos0) {
      counters.dropped('qos0').add();
      return this.#pass(run, next);
    }
    const { maxAge } = this.#deps;
    const timed = message.expiry !== 0 || maxAge !== Number.POSITIVE_INFINITY;
    const age = timed ? this.#deps.age(message) : undefined;
    if (age !== undefined && age > maxAge) {
      this.#tooOld(run, message.id);
      return this.#pass(run, next);
    }
    const expiry = remainingExpiry(message.expiry, age);
    if (expiry === undefined) {
      counters.expired.add();
      return this.#pass(run, next);
    }
    const { limits, protocol } = run.session;
    const properties = protocol === '5' ? propertiesOf(message, this.#deps.gatewayId, expiry) : undefined;
    const packet = packetOf(message, mapped, limits, properties);
    const { maximumPacketSize } = limits;
    if (maximumPacketSize !== Number.POSITIVE_INFINITY && publishLength(packet, protocol === '5') > maximumPacketSize) {
      this.#refusals.add(message.topic, 'packet_too_large', now);
      return this.#pass(run, next);
    }
    const wait = backlog ? run.bucket.take(now) : 0;
    if (wait > 0) return wait;
    run.pages.shift();
    this.#publish(run, { slot: run.window.enter(message, next, now), id: message.id, packet }, now);
    return 0;
  }

  /** Where a message goes; undefined where it is not wanted, or came from there. */
  #mapped({ origin, upstream, topic }: Message): ReturnType<TopicMap['out']> {
    return origin === 'upstream' && upstream === this.#deps.name ? undefined : this.#deps.topics.out(topic);
  }

  #tooOld(run: Run, id: bigint): void {
    const { from, count } = run.aged ?? { from: id, count: 0 };
    run.aged = { from, to: id + 1n, count: count + 1 };
  }

  #pass(run: Run, next: bigint): number {
    run.pages.shift();
    run.window.pass(next);
    return 0;
  }

  #publish(run: Run, sent: Sent, now: number): void {
    const { packet } = sent;
    this.#deps.counters.published.add();
    run.echo?.sent(packet.topic, packet.payload, now);
    run.link.publish(packet, (code) => {
      if (this.#run === run) this.#acknowledged(run, sent, code);
    });
  }

  #acknowledged(run: Run, sent: Sent, code: number): void {
    const { slot, packet, id } = sent;
    if (code >= 0x80 && retryCodes.has(code)) {
      this.#hold(run, sent, code);
      return;
    }
    if (!run.window.settle(slot)) return;
    if (code >= 0x80) {
      this.#refusals.add(packet.topic, `0x${code.toString(16)}`, this.#deps.clock.monotonic());
    } else if (packet.qos > 0) {
      this.#deps.counters.acknowledged.add();
      this.#deps.log.delivered(id);
      if (run.heldUntil !== 0 && run.again.length === 0) this.#quota.reset();
    }
    if (this.#quiesced !== undefined && run.window.open === 0) {
      this.#quiesced();
      this.#quiesced = () => undefined;
    }
    this.#schedule();
  }

  /** The broker has no room: nothing is sent for a while, then this message goes out again. */
  #hold(run: Run, again: Sent, code: number): void {
    const now = this.#deps.clock.monotonic();
    run.window.resent(again.slot, Number.POSITIVE_INFINITY);
    run.again.push(again);
    if (now < run.heldUntil) return;
    const wait = Math.max(100, this.#quota.next());
    run.heldUntil = now + wait;
    this.#deps.logger.warn({ upstream: this.#deps.name, code, wait }, 'the broker asks to hold off');
    this.#later(run, wait);
  }

  #checkAcks(run: Run): void {
    const oldest = run.window.oldest;
    if (oldest === undefined) return;
    const waited = this.#deps.clock.monotonic() - oldest.sentAt;
    if (waited >= this.#deps.ackTimeout) run.link.abort(`no acknowledgement for ${this.#deps.ackTimeout} ms`);
  }

  #readFailed(run: Run, thrown: unknown): void {
    if (this.#run !== run) return;
    this.#deps.logger.error({ upstream: this.#deps.name, reason: reasonOf(thrown) }, 'the log could not be read');
    this.#later(run, 1_000);
  }

  #later(run: Run, ms: number): void {
    run.later?.cancel();
    run.later = this.#deps.clock.after('upstream drain later', ms, () => {
      run.pages.grown();
      this.#schedule();
    });
  }

  #moveCursor(run: Run): void {
    const { log, name } = this.#deps;
    const cursor = run.window.cursor;
    const known = log.cursor(name);
    if (known === undefined || cursor > known) log.moveCursor(name, cursor);
  }
}
