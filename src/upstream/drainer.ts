import { Backoff, type Clock, reasonOf, type Timer } from '../base/index.ts';
import type { Message, StoredMessage } from '../domain/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { Deliverer, UpstreamLog } from './deps.ts';
import type { EchoFilter } from './echo-filter.ts';
import type { Gap } from './gap.ts';
import { type Lane, Lanes } from './lanes.ts';
import { LatestByTopic } from './latest.ts';
import type { Link, LinkSession, Outgoing } from './link.ts';
import type { ReplayOptions } from './options.ts';
import { Pace } from './pace.ts';
import { Refusals } from './refusals.ts';
import { Screen, type ScreenDeps } from './screen.ts';
import { Suspects } from './suspects.ts';

export interface DrainerDeps extends Omit<ScreenDeps, 'latest' | 'refusals'> {
  readonly log: UpstreamLog;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
  readonly window: number;
  /** Milliseconds. */
  readonly ackTimeout: number;
  readonly replay: ReplayOptions;
  /** Messages were lost before they could be sent. */
  readonly gapped: (gap: Gap) => void;
}

/** Reason codes that ask for another attempt with the same message: quota exceeded, packet identifier in use. */
const retryCodes: ReadonlySet<number> = new Set([0x97, 0x91]);
/** Messages looked at in one go, so that a long stretch of filtered ones does not hold up everything else. */
const stretch = 512;

/** Milliseconds for which a link has to hold before a message is tried on it alone; longer than a back-off is reset after. */
const trialQuiet = 12_000;
/** Milliseconds after its sending within which the end of such a link is blamed on the message. */
const trialBlame = 10_000;

/** A message on its way. */
interface Sent {
  readonly lane: Lane;
  readonly slot: number;
  readonly id: bigint;
  readonly packet: Outgoing;
}

/** One link's worth of draining: dropped as a whole when the link goes, so that nothing late can touch the next one. */
interface Run {
  readonly link: Link;
  readonly session: LinkSession;
  readonly lanes: Lanes;
  readonly pace: Pace;
  readonly echo: EchoFilter | undefined;
  /** Ids below were logged before the link came up. */
  readonly backlogEnd: bigint;
  readonly again: Sent[];
  readonly ackCheck: Timer;
  later: Timer | undefined;
  heldUntil: number;
  /** Whether messages go one by one, to find the one that the broker does not bear. */
  careful: boolean;
  /** Whether the broker has acknowledged the status on this link. */
  proven: boolean;
  /** The cursor when the link came up. */
  readonly begun: bigint | undefined;
  last: { readonly sent: Sent; readonly at: number } | undefined;
}

/**
 * Sends the log to a link, in id order from the cursor (or with the newest overtaking the backlog), with at most a window
 * of messages unacknowledged, and moves the cursor along the contiguous acknowledged prefix. Acknowledgements that come together are answered by one stretch of
 * sending, which leaves in one write.
 */
export class Drainer implements Deliverer {
  readonly #deps: DrainerDeps;
  readonly #quota: Backoff;
  readonly #refusals: Refusals;
  readonly #screen: Screen;
  /** What the broker does not bear. */
  readonly suspects: Suspects;
  readonly #latest: LatestByTopic | undefined;
  #run: Run | undefined;
  #scheduled: Timer | undefined;
  #quiesced: (() => void) | undefined;

  constructor(deps: DrainerDeps) {
    this.#deps = deps;
    this.#refusals = new Refusals(deps);
    this.suspects = new Suspects(deps);
    this.#latest = deps.topics.keepsLatest
      ? new LatestByTopic({ ...deps, mapped: (message) => this.#screen.mapped(message) })
      : undefined;
    this.#screen = new Screen({ ...deps, latest: this.#latest, refusals: this.#refusals });
    this.#quota = new Backoff({ base: 1_000, cap: 30_000 }, deps.random);
  }

  get inFlight(): number {
    return this.#run?.lanes.open ?? 0;
  }

  /** Milliseconds since the oldest message not yet acknowledged was accepted, where that is known. */
  get oldestAge(): number | undefined {
    const oldest = this.#run?.lanes.oldest;
    return oldest === undefined ? undefined : this.#deps.age(oldest);
  }

  /** The link is up: begins at the cursor. `echo` remembers what was sent where the broker would send it back. */
  attach(link: Link, given: LinkSession, echo: EchoFilter | undefined): void {
    this.detach();
    this.suspects.up();
    const { log, clock, ackTimeout, replay, random } = this.#deps;
    const { careful, maximumQos } = this.suspects;
    const session =
      given.limits.maximumQos > maximumQos ? { ...given, limits: { ...given.limits, maximumQos } } : given;
    const run: Run = {
      link,
      session,
      lanes: new Lanes({
        ...this.#deps,
        limit: careful ? 1 : this.#limitOf(session),
        liveFirst: replay.order === 'live_first',
        freshShare: replay.freshShare,
        ready: () => this.#schedule(),
        failed: (thrown) => this.#readFailed(run, thrown),
      }),
      pace: new Pace(replay, random, clock.monotonic()),
      echo,
      backlogEnd: log.next,
      again: [],
      ackCheck: clock.every('upstream ack timeout', Math.max(100, ackTimeout / 4), () => this.#checkAcks(run)),
      later: undefined,
      heldUntil: careful ? clock.monotonic() + trialQuiet : 0,
      careful,
      proven: false,
      begun: log.cursor(this.#deps.name),
      last: undefined,
    };
    this.#run = run;
    if (careful) this.#later(run, trialQuiet);
    else this.#schedule();
  }

  /** The broker has acknowledged the status on this link: it takes messages. */
  proven(link: Link): void {
    if (this.#run?.link === link) this.#run.proven = true;
  }

  /** The link is gone: what was in flight is forgotten, the cursor stays where it is. `closed`: the broker closed it. */
  detach(closed = false): void {
    const run = this.#run;
    if (run === undefined) return;
    run.lanes.save();
    this.#judge(run, closed);
    this.#run = undefined;
    this.#scheduled?.cancel();
    this.#scheduled = undefined;
    run.ackCheck.cancel();
    run.later?.cancel();
    this.#quiesced?.();
    this.#quiesced = undefined;
  }

  #limitOf({ limits }: LinkSession): number {
    return Math.max(1, Math.min(this.#deps.window, limits.receiveMaximum));
  }

  #judge({ careful, proven, begun, last, lanes }: Run, closed: boolean): void {
    const now = this.#deps.clock.monotonic();
    const { open } = lanes;
    const alone = careful && proven && open === 1 && last !== undefined && now - last.at < trialBlame;
    const blamed = alone ? { id: last.sent.id, topic: last.sent.packet.topic, qos: last.sent.packet.qos } : undefined;
    const moved = this.#deps.log.cursor(this.#deps.name) !== begun;
    this.suspects.ended({ closed, moved, open, blamed }, now);
  }

  /** Hears of what comes into the log from now on; returns what ends that. */
  follow(): () => void {
    const uncommit = this.#deps.log.onCommit(() => this.grown());
    const leave = this.#deps.log.deliverThrough(this);
    const unfollow = this.#latest?.follow();
    return () => {
      leave();
      uncommit();
      unfollow?.();
    };
  }

  /** There is more in the log than there was. */
  grown(): void {
    this.#run?.lanes.grown();
    this.#schedule();
  }

  /** Whether a message just accepted is wanted, and whether it goes out in the next turn. */
  takes(message: Message, id: bigint): 'no' | 'now' | 'later' {
    const run = this.#run;
    if (run === undefined) return 'later';
    const mapped = this.#screen.mapped(message);
    if (mapped === undefined) return 'no';
    const { lanes } = run;
    const waiting = lanes.main.pages.waitingBelow(id);
    const held = this.#quiesced !== undefined || run.heldUntil > this.#deps.clock.monotonic();
    const qos = Math.min(message.qos, mapped.qos, run.session.limits.maximumQos);
    if (waiting === undefined || held || qos === 0 || lanes.room(lanes.main) <= waiting) return 'later';
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
        again.lane.window.resent(again.slot, now);
        this.#publish(run, again, now);
      }
      // Whatever room there is is filled: a broker that does not set TCP_NODELAY holds its other acknowledgements back until
      // the first one is answered, by data or by a delayed ACK after 40 ms.
      let left = stretch;
      const lanes = run.careful ? run.lanes.all.slice(-1) : run.lanes.all;
      for (const lane of lanes) left = this.#fillLane(run, lane, left, now);
      if (left === 0) this.#schedule();
      this.#screen.tell();
    }
    run.lanes.save();
  }

  /** Sends what there is room for, and looks at no more than `left` messages; returns what of that is left. */
  #fillLane(run: Run, lane: Lane, left: number, now: number): number {
    while (left > 0 && run.lanes.room(lane) > 0 && run.heldUntil <= now) {
      const message = lane.pages.peek();
      if (message === undefined) break;
      const backlog = message.id < run.backlogEnd;
      const next = message.id + 1n;
      const packet = this.#packet(run, message, backlog, now);
      if (packet === undefined) {
        lane.pages.shift();
        lane.window.pass(next);
      } else {
        const wait = backlog ? run.pace.take(packet.topic.length + packet.payload.length, now) : 0;
        if (wait > 0) {
          this.#later(run, wait);
          break;
        }
        lane.pages.shift();
        this.#publish(run, { lane, slot: lane.window.enter(message, next, now), id: message.id, packet }, now);
      }
      left -= 1;
    }
    const passed = lane.pages.passed;
    if (passed !== undefined) lane.window.pass(passed);
    return left;
  }

  /** Undefined for a message that is not sent. */
  #packet(run: Run, message: StoredMessage, backlog: boolean, now: number): Outgoing | undefined {
    const packet = this.#screen.packet(message, run.session, backlog, now);
    if (packet === undefined || !this.suspects.condemned(message.id, packet.topic, now)) return packet;
    this.#refusals.add(packet.topic, 'closed_by_broker', now);
    return undefined;
  }

  #publish(run: Run, sent: Sent, now: number): void {
    const { packet } = sent;
    if (run.careful) run.last = { sent, at: now };
    this.#deps.counters.published.add();
    run.echo?.sent(packet.topic, packet.payload, now);
    run.link.publish(packet, (code) => {
      if (this.#run === run) this.#acknowledged(run, sent, code);
    });
  }

  #acknowledged(run: Run, sent: Sent, code: number): void {
    const { lane, slot, packet, id } = sent;
    if (code >= 0x80 && retryCodes.has(code)) {
      this.#hold(run, sent, code);
      return;
    }
    if (!lane.window.settle(slot)) return;
    if (code >= 0x80) {
      this.#refusals.add(packet.topic, `0x${code.toString(16)}`, this.#deps.clock.monotonic());
    } else if (packet.qos > 0) {
      this.#deps.counters.acknowledged.add();
      this.#deps.log.delivered(id);
      this.suspects.acknowledged(id, packet.topic);
      if (run.careful) {
        run.careful = false;
        run.lanes.limit = this.#limitOf(run.session);
      }
      if (run.heldUntil !== 0 && run.again.length === 0) this.#quota.reset();
    }
    if (this.#quiesced !== undefined && run.lanes.open === 0) {
      this.#quiesced();
      this.#quiesced = () => undefined;
    }
    this.#schedule();
  }

  /** The broker has no room: nothing is sent for a while, then this message goes out again. */
  #hold(run: Run, again: Sent, code: number): void {
    const now = this.#deps.clock.monotonic();
    again.lane.window.resent(again.slot, Number.POSITIVE_INFINITY);
    run.again.push(again);
    if (now < run.heldUntil) return;
    const wait = Math.max(100, this.#quota.next());
    run.heldUntil = now + wait;
    this.#deps.logger.warn({ upstream: this.#deps.name, code, wait }, 'the broker asks to hold off');
    this.#later(run, wait);
  }

  #checkAcks(run: Run): void {
    const { clock, ackTimeout } = this.#deps;
    const now = clock.monotonic();
    for (const { window } of run.lanes.all) {
      if (window.oldest !== undefined && now - window.oldest.sentAt >= ackTimeout) {
        run.link.abort(`no acknowledgement for ${ackTimeout} ms`);
        return;
      }
    }
  }

  #readFailed(run: Run, thrown: unknown): void {
    if (this.#run !== run) return;
    this.#deps.logger.error({ upstream: this.#deps.name, reason: reasonOf(thrown) }, 'the log could not be read');
    this.#later(run, 1_000);
  }

  #later(run: Run, ms: number): void {
    run.later?.cancel();
    run.later = this.#deps.clock.after('upstream drain later', ms, () => {
      run.lanes.grown();
      this.#schedule();
    });
  }
}
