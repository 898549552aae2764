import { classOf, codes } from './codes.ts';
import type {
  CoapResponse,
  Endpoint,
  KeptObservation,
  NotificationOutcome,
  NotifyOptions,
  Observation,
  ObservationEnd,
  ObserveOptions,
} from './message-layer.ts';
import type { CoapOptions } from './options.ts';
import type { Outbox, Outgoing, Settled } from './outbox.ts';
import type { Peer, PeerTable } from './peers.ts';
import { writeReply } from './reply.ts';
import type { Representations } from './representations.ts';

export interface RelationDeps {
  readonly options: CoapOptions;
  readonly peers: PeerTable;
  readonly outbox: Outbox;
  readonly representations: Representations;
  readonly now: () => number;
  readonly wall: () => number;
}

/** What a registration says, beside the handler's options. */
export interface Registration {
  readonly peer: Peer;
  readonly token: Uint8Array;
  /** Identifies the resource among the peer's, for block-wise transfer of its notifications. */
  readonly resource: string;
  /** The client's block size, if it said one. */
  readonly szx: number | undefined;
}

/** Where the relation is kept. */
export interface RelationRegistry {
  find(peer: Peer, token: Uint8Array): Relation | undefined;
  enter(relation: Relation): void;
  leave(relation: Relation): void;
  /** Removes it and what it had waiting, and tells its owner. */
  finish(relation: Relation, reason: ObservationEnd): void;
  endAll(reason: ObservationEnd, peer: Peer): void;
}

interface Held {
  readonly payload: Uint8Array;
  readonly options: NotifyOptions;
}

/** NON notifications whose message ids are remembered, so that an RST to one is understood. */
const rememberedNons = 8;

/** One observation. */
export class Relation implements Observation {
  readonly #all: RelationRegistry;
  readonly #deps: RelationDeps;
  readonly onEnd: (reason: ObservationEnd) => void;
  readonly resource: string;
  readonly szx: number | undefined;
  peer: Peer;
  token: Uint8Array;
  ended = false;
  /** The last sequence number given out. */
  sequence: number;
  /** Monotonic time of the last NON, or -1. */
  lastNon = -1;
  #confirmable: boolean;
  /** Monotonic time of the last CON; at first, of the registration. */
  #lastCon: number;
  #nons: number[] = [];
  /** Notifications from before the registering response. */
  #held: Held[] | undefined = [];

  constructor(
    all: RelationRegistry,
    deps: RelationDeps,
    registration: Registration,
    options: ObserveOptions,
    sequence: number,
  ) {
    this.#all = all;
    this.#deps = deps;
    this.peer = registration.peer;
    this.token = new Uint8Array(registration.token);
    this.resource = registration.resource;
    this.szx = registration.szx;
    this.onEnd = options.onEnd;
    this.#confirmable = options.confirmable;
    this.sequence = sequence;
    this.#lastCon = deps.now();
  }

  get endpoint(): Endpoint {
    return this.peer;
  }

  get kept(): KeptObservation {
    const { token, resource, szx, sequence } = this;
    return { token, resource, szx, sequence };
  }

  notify(payload: Uint8Array, options: NotifyOptions = {}): void {
    if (this.ended) return;
    if (this.#held === undefined) {
      this.#deps.outbox.post(this.peer, new Notification(this, this.#deps, { code: codes.content, payload }, options));
      return;
    }
    this.#held.push({ payload, options });
    if (this.#held.length > this.#deps.options.maxQueuedPerEndpoint) this.#held.shift()?.options.onSettled?.('dropped');
  }

  move(endpoint: Endpoint, token: Uint8Array, confirmable = this.#confirmable): void {
    const peer = this.#deps.peers.of(endpoint);
    if (this.ended || peer === undefined) return;
    this.#confirmable = confirmable;
    if (peer === this.peer && Buffer.compare(token, this.token) === 0) return;
    const former = this.#all.find(peer, token);
    if (former !== undefined) this.#all.finish(former, 'replaced');
    if (this.ended) return;
    const waiting = this.#deps.outbox.withdraw(this.peer, this);
    this.#all.leave(this);
    this.peer = peer;
    this.token = new Uint8Array(token);
    this.#nons = [];
    this.#all.enter(this);
    for (const outgoing of waiting) this.#deps.outbox.post(peer, outgoing);
  }

  end(final?: CoapResponse): void {
    if (this.ended) return;
    const { peer } = this;
    const silent = this.#held !== undefined;
    this.#all.finish(this, 'cancelled');
    if (final !== undefined && !silent) this.#deps.outbox.post(peer, new Notification(this, this.#deps, final, {}));
  }

  /** The registering response leaves: its sequence number. What was held follows once `release` is called. */
  activate(): number {
    return this.nextSequence();
  }

  /** The registering response has left. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const { payload, options } of held) this.notify(payload, options);
  }

  /** Whether its client is still there is not known: the next notification is a CON. */
  doubt(): void {
    this.#lastCon = Number.NEGATIVE_INFINITY;
  }

  /** Strictly rising modulo 2^24, RFC 7641 §4.4. */
  nextSequence(): number {
    this.sequence = (this.sequence + 1) & 0xff_ffff;
    return this.sequence;
  }

  /** Whether the next notification is a CON: asked for, or due on a NON-only observation (RFC 7641 §4.5). */
  takeConfirmable(): boolean {
    const now = this.#deps.now();
    const confirmable = this.#confirmable || now - this.#lastCon >= this.#deps.options.confirmEvery;
    if (confirmable) this.#lastCon = now;
    return confirmable;
  }

  rememberNon(messageId: number): void {
    this.lastNon = this.#deps.now();
    this.#nons.push(messageId);
    if (this.#nons.length > rememberedNons) this.#nons.shift();
  }

  sentNon(messageId: number): boolean {
    return this.#nons.includes(messageId);
  }

  /** How a CON of this relation ended, where that ends more than the message. */
  failed(outcome: Settled): void {
    if (outcome === 'reset') this.#all.finish(this, 'reset');
    if (outcome === 'timeout') this.#all.endAll('timeout', this.peer);
  }
}

/** A notification that waits for its turn; the sequence number is given at its turn. */
class Notification implements Outgoing {
  readonly owner: Relation;
  readonly bytes: number;
  readonly #deps: RelationDeps;
  readonly #response: CoapResponse;
  readonly #options: NotifyOptions;

  constructor(owner: Relation, deps: RelationDeps, response: CoapResponse, options: NotifyOptions) {
    this.owner = owner;
    this.#deps = deps;
    this.#response = response;
    this.#options = options;
    this.bytes = response.payload?.length ?? 0;
  }

  confirmable(): boolean {
    return this.owner.takeConfirmable();
  }

  render(type: number, messageId: number): Uint8Array {
    const { peer, token, resource, szx } = this.owner;
    const { contentFormat, maxAge } = this.#options;
    const asked = szx === undefined ? undefined : { num: 0, more: false, szx };
    const whole = this.#response;
    const reply = this.#deps.representations.cut(
      { ...whole, contentFormat: contentFormat ?? whole.contentFormat, maxAge: maxAge ?? whole.maxAge },
      { peer, resource: () => resource, asked, always: false },
    );
    if (classOf(whole.code) === 2) reply.observe = this.owner.nextSequence();
    if (type === 1) this.owner.rememberNon(messageId);
    return writeReply(type, messageId, token, reply);
  }

  settled(outcome: Settled): void {
    this.#options.onSettled?.(outcomes[outcome]);
    this.owner.failed(outcome);
  }
}

const outcomes: Readonly<Record<Settled, NotificationOutcome>> = {
  sent: 'sent',
  acknowledged: 'acknowledged',
  dropped: 'dropped',
  ended: 'failed',
  reset: 'failed',
  timeout: 'failed',
};
