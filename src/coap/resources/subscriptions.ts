import type { Message, StoredMessage } from '../../domain/index.ts';
import type { CoapRequest, Endpoint, Observation } from '../message-layer.ts';

/** Where messages come from. */
export interface MessageSource {
  subscribe(filter: string, subscriber: (message: Message) => void): () => void;
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

interface Subscription {
  readonly filter: string;
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
  readonly #maxPerOwner: number;
  readonly #owners = new Map<string, Owner>();

  constructor(source: MessageSource, observe: Observe, maxPerOwner: number) {
    this.#source = source;
    this.#observe = observe;
    this.#maxPerOwner = maxPerOwner;
  }

  /**
   * Subscribes `owner` to a valid filter. `single`: another subscription of the same owner and filter is replaced.
   * @returns what sends the retained messages that match, to be called once the answer has left; undefined at a bound.
   */
  add(
    owner: string,
    filter: string,
    request: CoapRequest,
    confirmable: boolean,
    single: boolean,
    now: number,
  ): (() => void) | undefined {
    const entry = this.#owners.get(owner) ?? { endpoint: request.endpoint, seen: now, byObservation: new Map() };
    if (single) this.#drop(entry, filter);
    if (entry.byObservation.size >= this.#maxPerOwner) return undefined;
    const observation = this.#observe(request, { confirmable, onEnd: () => end() });
    if (observation === undefined) return undefined;
    const unsubscribe = this.#source.subscribe(filter, (message) => observation.notify(message.payload));
    const end = () => {
      unsubscribe();
      entry.byObservation.delete(observation);
      if (entry.byObservation.size === 0 && this.#owners.get(owner) === entry) this.#owners.delete(owner);
    };
    entry.byObservation.set(observation, { filter, observation, end });
    this.#owners.set(owner, entry);
    return () => this.#sendRetained(entry, observation, filter);
  }

  /** Ends the owner's subscriptions to exactly `filter`; whether there was one. */
  remove(owner: string, filter: string): boolean {
    const entry = this.#owners.get(owner);
    return entry === undefined ? false : this.#drop(entry, filter);
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
        if (entry.byObservation.has(observation)) observation.notify(message.payload, { onSettled: next });
        return;
      }
    };
    next();
  }
}
