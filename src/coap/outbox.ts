import { Deadlines } from './deadlines.ts';
import { types } from './decode.ts';
import type { CoapOptions } from './options.ts';
import type { Peer } from './peers.ts';

/** How a message of ours ended. */
export type Settled = 'sent' | 'acknowledged' | 'reset' | 'timeout' | 'dropped' | 'ended';

/** A message that the outbox sends when its turn comes. */
export interface Outgoing {
  /** What it belongs to, for `withdraw`; messages without an owner are responses, the last to be dropped. */
  readonly owner: object | undefined;
  /** Bytes that it holds while it waits. */
  readonly bytes: number;
  /** Asked once, at its turn: CON or NON. */
  confirmable(): boolean;
  /** The datagram; asked once, at its turn. `type` as in `types`. */
  render(type: number, messageId: number): Uint8Array;
  settled(outcome: Settled): void;
}

interface Flight {
  readonly peer: Peer;
  readonly lane: Lane;
  readonly outgoing: Outgoing;
  readonly messageId: number;
  readonly datagram: Uint8Array;
  transmissions: number;
  wait: number;
}

/** The messages to one peer while a CON is in flight. */
interface Lane {
  flight: Flight | undefined;
  queue: Outgoing[];
}

export interface OutboxDeps {
  readonly options: CoapOptions;
  /** Resolution of the retransmission times, milliseconds. */
  readonly resolution: number;
  readonly now: () => number;
  readonly random: () => number;
  readonly send: (peer: Peer, datagram: Uint8Array) => void;
  readonly hold: (peer: Peer) => void;
  readonly release: (peer: Peer) => void;
  readonly onInFlight: () => void;
  readonly onRetransmission: () => void;
  readonly onDropped: () => void;
}

/**
 * Sends our own messages, those with fresh message ids. One CON per peer is in flight (NSTART = 1, RFC 7252 §4.7);
 * whatever follows to that peer, NON too, waits behind it in a bounded queue, so that order is kept. Retransmits per
 * §4.2. `settled` callbacks run after the operation that caused them, one after the other, never nested.
 */
export class Outbox {
  readonly #deps: OutboxDeps;
  readonly #lanes = new Map<Peer, Lane>();
  readonly #flights: Deadlines<Flight>;
  readonly #settlements: (() => void)[] = [];
  #settling = false;
  #queued = 0;
  #queuedBytes = 0;

  constructor(deps: OutboxDeps) {
    this.#deps = deps;
    this.#flights = new Deadlines(deps.resolution);
  }

  /** CONs that are not acknowledged. */
  get inFlight(): number {
    return this.#flights.size;
  }

  get queued(): number {
    return this.#queued;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Sends a message now, or after those before it. */
  post(peer: Peer, outgoing: Outgoing): void {
    const lane = this.#lanes.get(peer);
    if (lane === undefined) this.#transmit(peer, undefined, outgoing);
    else this.#enqueue(lane, outgoing);
    this.#settleAll();
  }

  /** An ACK arrived; whether it was for a CON in flight. */
  acknowledged(peer: Peer, messageId: number): boolean {
    return this.#answered(peer, messageId, 'acknowledged');
  }

  /** An RST arrived; whether it was for a CON in flight. */
  reset(peer: Peer, messageId: number): boolean {
    return this.#answered(peer, messageId, 'reset');
  }

  /** Takes back what `owner` has in flight or waiting at `peer`, unsettled and in order. */
  withdraw(peer: Peer, owner: object): Outgoing[] {
    const lane = this.#lanes.get(peer);
    if (lane === undefined) return [];
    const taken: Outgoing[] = [];
    const flight = lane.flight;
    if (flight?.outgoing.owner === owner) {
      this.#flights.delete(flight);
      lane.flight = undefined;
      taken.push(flight.outgoing);
    }
    const queue = lane.queue;
    lane.queue = [];
    for (const outgoing of queue) {
      if (outgoing.owner === owner) {
        this.#uncount(outgoing);
        taken.push(outgoing);
      } else lane.queue.push(outgoing);
    }
    this.#pump(peer, lane);
    this.#settleAll();
    return taken;
  }

  /** Retransmits what is due, gives up what was sent often enough. */
  tick(now: number): void {
    for (const flight of this.#flights.takeDue(now)) {
      if (flight.transmissions <= this.#deps.options.maxRetransmit) {
        flight.transmissions += 1;
        flight.wait *= 2;
        this.#flights.set(flight, now + flight.wait);
        this.#deps.onRetransmission();
        this.#deps.send(flight.peer, flight.datagram);
      } else this.#land(flight, 'timeout');
    }
    this.#settleAll();
  }

  /** Gives everything up; each message settles as `dropped`. */
  clear(): void {
    for (const peer of [...this.#lanes.keys()]) this.#drop(peer);
    this.#settleAll();
  }

  /** Gives up what is to go to a peer that cannot be reached any more; each message settles as `dropped`. */
  forget(peer: Peer): void {
    this.#drop(peer);
    this.#settleAll();
  }

  #drop(peer: Peer): void {
    const lane = this.#lanes.get(peer);
    if (lane === undefined) return;
    if (lane.flight !== undefined) {
      this.#flights.delete(lane.flight);
      this.#settle(lane.flight.outgoing, 'dropped');
    }
    for (const outgoing of lane.queue) {
      this.#uncount(outgoing);
      this.#settle(outgoing, 'dropped');
    }
    this.#lanes.delete(peer);
    this.#deps.release(peer);
  }

  #answered(peer: Peer, messageId: number, outcome: Settled): boolean {
    const flight = this.#lanes.get(peer)?.flight;
    if (flight?.messageId !== messageId) return false;
    this.#flights.delete(flight);
    this.#land(flight, outcome);
    this.#settleAll();
    return true;
  }

  #land(flight: Flight, outcome: Settled): void {
    flight.lane.flight = undefined;
    // Told before the next one leaves: what a reset or a timeout ends must not be sent any more.
    flight.outgoing.settled(outcome);
    if (this.#lanes.get(flight.peer) === flight.lane) this.#pump(flight.peer, flight.lane);
  }

  #pump(peer: Peer, lane: Lane): void {
    while (lane.flight === undefined) {
      const next = lane.queue.shift();
      if (next === undefined) {
        if (this.#lanes.delete(peer)) this.#deps.release(peer);
        return;
      }
      this.#uncount(next);
      this.#transmit(peer, lane, next);
    }
  }

  #transmit(peer: Peer, existing: Lane | undefined, outgoing: Outgoing): void {
    const confirmable = outgoing.confirmable();
    const messageId = peer.nextMessageId();
    const datagram = outgoing.render(confirmable ? types.con : types.non, messageId);
    if (confirmable) {
      const lane = existing ?? { flight: undefined, queue: [] };
      if (existing === undefined) {
        this.#lanes.set(peer, lane);
        this.#deps.hold(peer);
      }
      const { ackTimeout, ackRandomFactor } = this.#deps.options;
      const wait = ackTimeout * (1 + this.#deps.random() * (ackRandomFactor - 1));
      const flight = { peer, lane, outgoing, messageId, datagram, transmissions: 1, wait };
      lane.flight = flight;
      this.#flights.set(flight, this.#deps.now() + wait);
      this.#deps.onInFlight();
    }
    this.#deps.send(peer, datagram);
    if (!confirmable) this.#settle(outgoing, 'sent');
  }

  #enqueue(lane: Lane, outgoing: Outgoing): void {
    const { maxQueued, maxQueuedBytes, maxQueuedPerEndpoint } = this.#deps.options;
    const full = () => this.#queued >= maxQueued || this.#queuedBytes + outgoing.bytes > maxQueuedBytes;
    while (lane.queue.length > 0 && (lane.queue.length >= maxQueuedPerEndpoint || full())) this.#dropOldest(lane);
    if (full()) {
      this.#deps.onDropped();
      this.#settle(outgoing, 'dropped');
      return;
    }
    lane.queue.push(outgoing);
    this.#queued += 1;
    this.#queuedBytes += outgoing.bytes;
  }

  #dropOldest(lane: Lane): void {
    const notification = lane.queue.findIndex((outgoing) => outgoing.owner !== undefined);
    for (const dropped of lane.queue.splice(Math.max(0, notification), 1)) {
      this.#uncount(dropped);
      this.#deps.onDropped();
      this.#settle(dropped, 'dropped');
    }
  }

  #uncount(outgoing: Outgoing): void {
    this.#queued -= 1;
    this.#queuedBytes -= outgoing.bytes;
  }

  #settle(outgoing: Outgoing, outcome: Settled): void {
    this.#settlements.push(() => outgoing.settled(outcome));
  }

  #settleAll(): void {
    if (this.#settling || this.#settlements.length === 0) return;
    this.#settling = true;
    try {
      for (let at = 0; at < this.#settlements.length; at++) this.#settlements[at]?.();
    } finally {
      this.#settlements.length = 0;
      this.#settling = false;
    }
  }
}
