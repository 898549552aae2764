import type { Client } from 'aedes';
import type { Clock } from '../base/index.ts';
import { type Message, type QoS, TopicTree } from '../domain/index.ts';
import type { QueuedContent, Session, Sessions } from '../sessions/index.ts';
import { PublishPacket } from './publish-packet.ts';
import type { SysHub } from './sys-topics.ts';

/** A subscriber's end of the hub. */
export interface Receiver {
  /** The filters of its client, as aedes has granted them. */
  readonly filters: Map<string, Subscription>;
  /** The message that was matched last against its filters, and the highest QoS of those that match. */
  matched: PublishPacket | undefined;
  matchedQos: QoS;
  /** A message that it has subscribed to, at the lower QoS of both; what its session has queued is not told here. */
  routed(packet: PublishPacket, qos: QoS): void;
  /** Its session has queued a message. */
  queued(session: Session, message: bigint): void;
  /** The events that were waiting have been looked at: what was gathered is to be written. */
  turnEnded(): void;
}

export interface Subscription {
  readonly receiver: Receiver;
  qos: QoS;
}

export interface HubDeps {
  readonly clock: Clock;
  readonly sessions: Sessions;
  /** Resolved once what was changed in sessions up to now is written. */
  readonly written: () => Promise<void>;
}

type Done = (error?: Error | null) => void;
type Written = (error: Error | undefined) => void;

/**
 * Who gets a message. It knows every client's filters from aedes's own table of them, and takes the place of aedes's
 * emitter and of its `publish`: a message is matched once, put together once, and handed over in the turn and the order in
 * which the pipeline routes it.
 */
export class Hub implements SysHub {
  /** Takes the place of aedes's emitter: nothing is filed there. */
  readonly emitter: object = {
    on: (_topic: string, _heard: unknown, done?: Done) => done?.(),
    removeListener: (_topic: string, _heard: unknown, done?: Done) => done?.(),
    emit: (_packet: object, done?: Done) => done?.(),
    close: (done?: Done) => done?.(),
  };
  readonly #deps: HubDeps;
  readonly #tree = new TopicTree<Subscription>();
  readonly #receivers = new WeakMap<object, Receiver>();
  readonly #packets = new WeakMap<QueuedContent, PublishPacket>();
  #found: Receiver[] = [];
  readonly #ending = new Set<Receiver>();
  #awaiting: Written[] = [];
  #armed = false;

  constructor(deps: HubDeps) {
    this.#deps = deps;
    deps.sessions.onQueued = (message, sessions) => {
      for (const session of sessions) {
        const receiver = session.live === undefined ? undefined : this.#receivers.get(session.live);
        receiver?.queued(session, message.id);
      }
    };
  }

  /** The packet of a queued message, one for all sessions that have it. */
  packetOf(message: QueuedContent): PublishPacket {
    let packet = this.#packets.get(message);
    if (packet === undefined) {
      packet = new PublishPacket(message.topic, message.payload, message.id);
      this.#packets.set(message, packet);
    }
    return packet;
  }

  /** Watches aedes's table of what `client` has subscribed to, from before there is anything in it. */
  watch(client: Client, receiver: Receiver): void {
    this.#receivers.set(client, receiver);
    const subscriptions = new Proxy(Object.create(null) as Record<string, { readonly qos?: number }>, {
      set: (table, filter: string, granted: { readonly qos?: number }) => {
        this.#subscribed(receiver, filter, toQoS(granted.qos));
        table[filter] = granted;
        return true;
      },
      deleteProperty: (table, filter: string) => {
        this.#unsubscribed(receiver, filter);
        return delete table[filter];
      },
    });
    Object.assign(client, { subscriptions });
  }

  /** A message of the pipeline; what sessions have queued of it they were told. */
  route({ topic, payload, qos }: Message, id: bigint): void {
    this.#route(topic, payload, qos, id);
  }

  hasSubscribers(topic: string): boolean {
    let any = false;
    this.#tree.match(topic, () => {
      any = true;
    });
    return any;
  }

  /** Tells those who subscribe, with QoS 0; not through the pipeline, so that nothing of it is logged or forwarded. */
  publish(topic: string, payload: string): void {
    this.#route(topic, Buffer.from(payload), 0, undefined);
  }

  /** Has `receiver` told of the end of this turn. */
  endsTurn(receiver: Receiver): void {
    this.#ending.add(receiver);
    this.#arm();
  }

  /** Calls `then` once what was changed in sessions up to now is written, or could not be. */
  whenWritten(then: Written): void {
    this.#awaiting.push(then);
    this.#arm();
  }

  #route(topic: string, payload: Uint8Array, qos: QoS, id: bigint | undefined): void {
    const packet = new PublishPacket(topic, payload, id);
    const found = this.#found;
    this.#tree.match(topic, ({ receiver, qos: granted }) => {
      if (receiver.matched !== packet) {
        receiver.matched = packet;
        receiver.matchedQos = granted;
        found.push(receiver);
      } else if (granted > receiver.matchedQos) receiver.matchedQos = granted;
    });
    if (found.length === 0) return;
    this.#found = [];
    for (const receiver of found) {
      receiver.matched = undefined;
      receiver.routed(packet, qos < receiver.matchedQos ? qos : receiver.matchedQos);
    }
  }

  #subscribed(receiver: Receiver, filter: string, qos: QoS): void {
    const known = receiver.filters.get(filter);
    if (known !== undefined) {
      known.qos = qos;
      return;
    }
    const subscription = { receiver, qos };
    receiver.filters.set(filter, subscription);
    this.#tree.add(filter, subscription);
  }

  #unsubscribed(receiver: Receiver, filter: string): void {
    const known = receiver.filters.get(filter);
    if (known === undefined) return;
    receiver.filters.delete(filter);
    this.#tree.delete(filter, known);
  }

  #arm(): void {
    if (this.#armed) return;
    this.#armed = true;
    this.#deps.clock.soon('mqtt turn', () => {
      try {
        for (const receiver of this.#ending) {
          receiver.turnEnded();
          this.#ending.delete(receiver);
        }
      } finally {
        this.#armed = false;
      }
      this.#write();
    });
  }

  #write(): void {
    const awaiting = this.#awaiting.splice(0);
    if (awaiting.length === 0) return;
    this.#deps.written().then(
      () => {
        for (const then of awaiting) then(undefined);
      },
      (thrown: Error) => {
        for (const then of awaiting) then(thrown);
      },
    );
  }
}

function toQoS(qos: number | undefined): QoS {
  return qos === 1 || qos === 2 ? qos : 0;
}
