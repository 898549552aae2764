import type { GatewayEvent, Message, QoS, StoredMessage } from '../../domain/index.ts';
import type { CoapRequest, Endpoint, Observation } from '../message-layer.ts';

/** Where messages come from. */
export interface MessageSource {
  subscribe(filter: string, subscriber: (message: Message, id: bigint) => void): () => void;
  readonly retained: {
    get(topic: string): StoredMessage | undefined;
    matching(filter: string): Iterable<StoredMessage>;
    topics(): Iterable<string>;
  };
}

/** The message layer's way to take an observation. */
export type Observe = (
  request: CoapRequest,
  options: { confirmable: boolean; onEnd: (reason: string) => void },
) => Observation | undefined;

/** Where deliveries are recorded. */
export interface Journal {
  record(event: GatewayEvent): void;
}

/** Who subscribes, to what, and how. */
export interface SubscriptionRequest {
  /** A connected client, or an endpoint without a connection. */
  readonly owner: string;
  /** Full client id; empty where the caller gave none. */
  readonly clientId: string;
  /** A valid filter. */
  readonly filter: string;
  readonly qos: QoS;
  /** Whether another subscription of the same owner and filter is replaced. */
  readonly single: boolean;
  /** Monotonic time, milliseconds. */
  readonly now: number;
}

interface Subscription {
  readonly filter: string;
  readonly qos: QoS;
  /** Sends a message and records that it was received. */
  readonly deliver: (message: Pick<Message, 'payload'>, id: bigint, settled?: () => void) => void;
  readonly observation: Observation;
  readonly end: () => void;
}

/** The subscriptions of one owner: a connected client, or an endpoint without a connection. */
interface Owner {
  endpoint: Endpoint;
  /** Monotonic time at which that endpoint last proved itself, milliseconds. */
  seen: number;
  readonly byObservation: Map<Observation, Subscription>;
}

/** The subscribed topics of CoAP clients, each an observation of the message layer. */
export class Subscriptions {
  readonly #source: MessageSource;
  readonly #observe: Observe;
  readonly #journal: Journal;
  readonly #maxPerOwner: number;
  readonly #owners = new Map<string, Owner>();

  constructor(source: MessageSource, observe: Observe, journal: Journal, maxPerOwner: number) {
    this.#source = source;
    this.#observe = observe;
    this.#journal = journal;
    this.#maxPerOwner = maxPerOwner;
  }

  /**
   * Subscribes the client of `request`.
   * @returns what sends the retained messages that match, to be called once the answer has left; undefined at a bound.
   */
  add(request: CoapRequest, wanted: SubscriptionRequest): (() => void) | undefined {
    const { owner, clientId, filter, qos, single, now } = wanted;
    const confirmable = qos > 0;
    const entry = this.#owners.get(owner) ?? { endpoint: request.endpoint, seen: now, byObservation: new Map() };
    if (single) this.#drop(entry, filter);
    if (entry.byObservation.size >= this.#maxPerOwner) return undefined;
    const observation = this.#observe(request, { confirmable, onEnd: () => end() });
    if (observation === undefined) return undefined;
    const deliver: Subscription['deliver'] = (message, id, settled) => {
      if (clientId === '' && settled === undefined) return observation.notify(message.payload);
      observation.notify(message.payload, {
        onSettled: (outcome) => {
          if (clientId !== '' && (outcome === 'sent' || outcome === 'acknowledged')) {
            this.#journal.record({ kind: 'delivered', message: id, clientId, qos: confirmable ? 1 : 0 });
          }
          settled?.();
        },
      });
    };
    const unsubscribe = this.#source.subscribe(filter, deliver);
    const end = () => {
      unsubscribe();
      entry.byObservation.delete(observation);
      if (entry.byObservation.size === 0 && this.#owners.get(owner) === entry) this.#owners.delete(owner);
    };
    entry.byObservation.set(observation, { filter, qos, deliver, observation, end });
    this.#owners.set(owner, entry);
    return () => this.#sendRetained(entry, observation, filter);
  }

  /** Ends the owner's subscriptions to exactly `filter`; whether there was one. */
  remove(owner: string, filter: string): boolean {
    const entry = this.#owners.get(owner);
    return entry === undefined ? false : this.#drop(entry, filter);
  }

  /** An owner's filters, each with the highest QoS that was asked for. */
  of(owner: string): readonly { readonly topic: string; readonly qos: QoS }[] {
    const found = new Map<string, QoS>();
    for (const { filter, qos } of this.#owners.get(owner)?.byObservation.values() ?? []) {
      if (qos >= (found.get(filter) ?? 0)) found.set(filter, qos);
    }
    return [...found].map(([topic, qos]) => ({ topic, qos }));
  }

  /** Ends all of an owner's subscriptions; `code`: that of a last notification, where one is due. */
  removeAll(owner: string, code?: number): void {
    const entry = this.#owners.get(owner);
    if (entry === undefined) return;
    for (const { observation, end } of [...entry.byObservation.values()]) {
      end();
      observation.end(code === undefined ? undefined : { code });
    }
  }

  /**
   * The owner proved itself from `endpoint`. Its notifications follow it there at once where the request maintains the
   * session (`moves`), else once its former address was silent for `patience` milliseconds: a publish from a second
   * socket does not take the notifications of the first away.
   */
  seenAt(owner: string, endpoint: Endpoint, now: number, moves: boolean, patience: number): void {
    const entry = this.#owners.get(owner);
    if (entry === undefined) return;
    if (entry.endpoint.key !== endpoint.key) {
      if (!moves && now - entry.seen < patience) return;
      entry.endpoint = endpoint;
      for (const { observation } of entry.byObservation.values()) observation.move(endpoint, observation.token);
    }
    entry.seen = now;
  }

  #drop(entry: Owner, filter: string): boolean {
    let found = false;
    for (const subscription of [...entry.byObservation.values()]) {
      if (subscription.filter !== filter) continue;
      found = true;
      subscription.end();
      subscription.observation.end();
    }
    return found;
  }

  /** One after the other, so that the bounded queue of the endpoint does not overflow. */
  #sendRetained(entry: Owner, observation: Observation, filter: string): void {
    const topics = Array.from(this.#source.retained.matching(filter), (message) => message.topic).values();
    const next = () => {
      for (const topic of topics) {
        const message = this.#source.retained.get(topic);
        if (message === undefined) continue;
        entry.byObservation.get(observation)?.deliver(message, message.id, next);
        return;
      }
    };
    next();
  }
}
