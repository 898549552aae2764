import type { Timer } from '../../base/index.ts';
import type { Connection } from '../../connections/index.ts';
import { earlierOf, type QoS, type StoredMessage, TopicTree } from '../../domain/index.ts';
import { codes } from '../codes.ts';
import type { CoapRequest, Endpoint, KeptObservation, ObservationEnd, Place } from '../message-layer.ts';
import type { KeptSubscription } from './kept-client.ts';
import { numberedOn } from './kept-fields.ts';
import type { ObserverSubscription } from './kept-observer.ts';
import { Debts, type DropReason, Owed } from './owed.ts';
import { Owner } from './owner.ts';
import { sendRetained } from './retained-sending.ts';
import { Subscription, type SubscriptionFacts } from './subscription.ts';
import type { Observing, SubscriptionsDeps } from './subscription-deps.ts';

/** Who subscribes, to what, and how. */
export interface SubscriptionRequest extends SubscriptionFacts {
  /** A connected client, or an endpoint without a connection. */
  readonly owner: string;
  readonly connection: Connection | undefined;
}

/** Bytes of what clients are owed, in all; messages that wait for one subscription, as for an MQTT session. */
const maxOwedBytes = 16 * 1024 * 1024;
const maxOwedMessages = 1_000;

/**
 * The subscribed topics of CoAP clients, each an observation of the message layer. That of a connected client with a QoS
 * above 0 is durable: what it has not acknowledged is held while it is connected, over a restart of the gateway as well. One
 * without a connection goes on over a restart, too, and is owed nothing.
 */
export class Subscriptions {
  readonly #deps: SubscriptionsDeps;
  readonly #owners = new Map<string, Owner>();
  readonly #debts: Debts;
  readonly #dropped: (reason: DropReason) => void;
  #sweep: Timer | undefined;

  constructor(deps: SubscriptionsDeps) {
    this.#deps = deps;
    const { clock, metrics, kept } = deps;
    this.#debts = new Debts({ now: () => clock.monotonic(), maxBytes: maxOwedBytes, moved: () => kept.moved() });
    const about = 'Messages for CoAP clients that were given up without an acknowledgement.';
    this.#dropped = (reason) => metrics.counter('holdfast_coap_owed_dropped_total', about, { reason }).add();
    metrics.gauge(
      'holdfast_coap_owed_messages',
      'Messages that connected CoAP clients have not acknowledged.',
      () => this.#debts.size,
    );
  }

  /** The lowest id of a message that a client is owed. */
  get lowestOwed(): bigint | undefined {
    return this.#debts.lowest;
  }

  /** How many messages some client is owed. */
  get owed(): number {
    return this.#debts.size;
  }

  /**
   * Subscribes the client of `request`.
   * @returns what sends the retained messages that match, to be called once the answer has left, and what the answer has to
   * wait for; undefined at a bound.
   */
  add(
    request: CoapRequest,
    wanted: SubscriptionRequest,
  ): { readonly sendRetained: () => void; readonly kept: Promise<void> | undefined } | undefined {
    const { connection, filter, qos } = wanted;
    const owner = this.#owners.get(wanted.owner) ?? new Owner(wanted.owner, connection);
    if (owner.connection?.username !== connection?.username) this.#removeFrom(owner);
    const former = connection === undefined ? [] : [...owner.subscriptions].filter((one) => one.filter === filter);
    if (owner.subscriptions.size - former.length >= this.#deps.maxPerOwner) return undefined;
    const owed = former.flatMap((one) => one.durable?.owed.take() ?? []);
    const since = former.reduce((id, one) => earlierOf(id, one.durable?.since ?? id), this.#deps.kept.position);
    const subscription = this.#make(owner, wanted, connection !== undefined && qos > 0 ? since : undefined);
    const observation = this.#deps.observers.observe(request, this.#observing(owner, subscription));
    if (observation === undefined) {
      const [one] = former;
      one?.durable?.owed.put(owed);
      if (one?.observation !== undefined) one.open(one.observation);
      return undefined;
    }
    for (const one of former) this.#end(owner, one);
    owner.endpoint = request.endpoint;
    owner.connection = connection;
    owner.stamp = this.#stampOf(connection);
    this.#owners.set(owner.key, owner);
    if (subscription.durable !== undefined) subscription.durable.owed.put(owed);
    else for (const debt of owed) this.#debts.settle(debt);
    this.#enter(owner, subscription);
    subscription.open(observation);
    subscription.due = this.#retainedTopics(filter);
    if (connection === undefined) this.#keepObserver(owner);
    return {
      sendRetained: () => this.#sendRetained(owner, subscription),
      kept: subscription.durable === undefined ? undefined : this.#deps.kept.keep(owner.key, () => owner.text()),
    };
  }

  /** Takes up the subscriptions of a client that an earlier run had; they wait until it can be sent to. */
  restore(connection: Connection, place: Place | undefined, subscriptions: readonly KeptSubscription[]): void {
    const { clientId, username } = connection;
    const owner = new Owner(clientId, connection);
    owner.place = place;
    owner.stamp = this.#stampOf(connection);
    this.#owners.set(clientId, owner);
    for (const { filter, qos, since, observation, due } of subscriptions) {
      const subscription = this.#make(owner, { filter, qos, clientId, username }, since);
      if (due) subscription.due = this.#retainedTopics(filter);
      this.#enter(owner, subscription);
      this.#park(owner, subscription, observation === undefined ? undefined : numberedOn(observation));
    }
    this.#deps.kept.goOn(clientId, () => owner.text());
  }

  /** Goes on with what an observer without a connection had in an earlier run; not where it has subscribed again before. */
  resumeObserver(endpoint: Endpoint, subscriptions: readonly ObserverSubscription[]): boolean {
    if (this.#owners.has(endpoint.key)) return false;
    const owner = new Owner(endpoint.key, undefined);
    owner.endpoint = endpoint;
    for (const one of subscriptions.slice(0, this.#deps.maxPerOwner)) {
      const subscription = this.#make(owner, one, undefined);
      const observation = this.#deps.observers.resume(endpoint, one.observation, this.#observing(owner, subscription));
      if (observation === undefined) continue;
      this.#enter(owner, subscription);
      subscription.open(observation);
    }
    if (owner.subscriptions.size > 0) this.#owners.set(owner.key, owner);
    this.#keepObserver(owner);
    return owner.subscriptions.size > 0;
  }

  /** Ends what these users have subscribed to without a connection: their names are not to be trusted any more. */
  endUsers(usernames: ReadonlySet<string>): void {
    for (const owner of [...this.#owners.values()]) {
      if (owner.connection !== undefined) continue;
      for (const one of [...owner.subscriptions])
        if (usernames.has(one.username)) this.#end(owner, one, 'gone', codes.unauthorized);
    }
  }

  /** Reads messages again that clients of an earlier run may not have. */
  async replay(messages: AsyncIterable<StoredMessage>): Promise<void> {
    const tree = new TopicTree<Subscription>();
    for (const { subscriptions } of this.#owners.values())
      for (const one of subscriptions) if (one.durable !== undefined) tree.add(one.filter, one);
    for await (const message of messages) {
      if (message.qos === 0) continue;
      const age = this.#deps.log.age(message) ?? 0;
      tree.match(message.topic, (one) => {
        if (one.durable !== undefined && message.id >= one.durable.since) one.deliver(message, message.id, age);
      });
    }
  }

  /** Sends to the clients of an earlier run again, as far as it is known where they are. */
  resume(): void {
    for (const owner of this.#owners.values()) {
      if (owner.endpoint !== undefined || owner.place === undefined) continue;
      owner.endpoint = this.#deps.observers.endpointAt(owner.place);
      this.#reopen(owner);
    }
  }

  /** Ends the owner's subscriptions to exactly `filter`; whether there was one. */
  remove(key: string, filter: string): boolean {
    const owner = this.#owners.get(key);
    if (owner === undefined) return false;
    return this.#removeFrom(owner, (one) => one.filter === filter);
  }

  /** An owner's filters, each with the highest QoS that was asked for. */
  of(key: string): readonly { readonly topic: string; readonly qos: QoS }[] {
    const found = new Map<string, QoS>();
    for (const { filter, qos, kept } of this.#owners.get(key)?.subscriptions ?? []) {
      if (kept !== undefined && qos >= (found.get(filter) ?? 0)) found.set(filter, qos);
    }
    return [...found].map(([topic, qos]) => ({ topic, qos }));
  }

  /** Ends all of an owner's subscriptions; `code`: that of a last notification, where one is due. */
  removeAll(key: string, code?: number): void {
    const owner = this.#owners.get(key);
    if (owner === undefined) return;
    for (const one of [...owner.subscriptions]) {
      this.#end(owner, one, 'gone', code);
    }
  }

  /**
   * The client has logged in anew: its observations end, and what it is owed waits until it has subscribed again.
   * @returns what its answer has to wait for: the next run must not go on with them either.
   */
  leave(key: string): Promise<void> | undefined {
    const owner = this.#owners.get(key);
    if (owner === undefined) return undefined;
    for (const one of [...owner.subscriptions]) {
      if (one.durable === undefined) this.#end(owner, one);
      else this.#park(owner, one, undefined);
    }
    return owner.durable ? this.#deps.kept.keep(key, () => owner.text()) : undefined;
  }

  /**
   * The owner proved itself from `endpoint`. Its notifications follow it there at once where the request maintains the
   * session (`moves`), else once its former address was silent for `patience` milliseconds: a publish from a second
   * socket does not take the notifications of the first away.
   */
  seenAt(key: string, endpoint: Endpoint, now: number, moves: boolean, patience: number): void {
    const owner = this.#owners.get(key);
    if (owner === undefined) return;
    const { endpoint: former } = owner;
    if (former?.key !== endpoint.key) {
      if (former !== undefined && !moves && now - owner.seen < patience) return;
      owner.endpoint = endpoint;
      for (const { observation } of owner.subscriptions) observation?.move(endpoint, observation.token);
      this.#deps.kept.changed(key);
    }
    owner.seen = now;
    if (owner.parked > 0) this.#reopen(owner);
  }

  #stampOf(connection: Connection | undefined): string {
    return connection === undefined ? '' : this.#deps.authenticator.stampOf(connection.username);
  }

  #make(owner: Owner, facts: SubscriptionFacts, since: bigint | undefined): Subscription {
    const { journal, clock, log, kept, keptObservers } = this.#deps;
    const { filter, qos, clientId, username } = facts;
    const given = { filter, qos, clientId, username, journal };
    if (since === undefined)
      return new Subscription({ ...given, keep: () => keptObservers.overtaken(owner.key) }, undefined);
    const owed = new Owed({
      debts: this.#debts,
      now: () => clock.monotonic(),
      maxMessages: maxOwedMessages,
      dropped: this.#dropped,
    });
    return new Subscription(
      { ...given, keep: () => kept.changed(owner.key) },
      { owed, debts: this.#debts, require: (id) => log.require(id), since },
    );
  }

  #enter(owner: Owner, subscription: Subscription): void {
    owner.subscriptions.add(subscription);
    subscription.unsubscribe = this.#deps.source.subscribe(subscription.filter, (message, id) =>
      subscription.deliver(message, id),
    );
  }

  #observing(owner: Owner, subscription: Subscription): Observing {
    return { confirmable: subscription.qos > 0, onEnd: (reason) => this.#ended(owner, subscription, reason) };
  }

  /** An observation ended by itself. What the client is owed waits for it, unless it took the token for something else. */
  #ended(owner: Owner, subscription: Subscription, reason: ObservationEnd): void {
    if (!owner.subscriptions.has(subscription) || subscription.parked) return;
    // the next run goes on with it
    if (reason === 'stopped' && owner.connection === undefined) return;
    const { durable, kept } = subscription;
    if (durable === undefined || reason === 'replaced' || reason === 'cancelled') this.#end(owner, subscription);
    else this.#park(owner, subscription, reason === 'reset' ? undefined : kept);
  }

  #park(owner: Owner, subscription: Subscription, kept: KeptObservation | undefined): void {
    const { observation } = subscription;
    if (!subscription.parked) owner.parked += 1;
    subscription.park(kept, this.#deps.clock.monotonic());
    observation?.end();
    if (kept === undefined) this.#armSweep();
  }

  /** Goes on with what waits for its client, which was seen. */
  #reopen(owner: Owner): void {
    const { endpoint } = owner;
    if (endpoint === undefined) return;
    for (const one of owner.subscriptions) {
      if (!one.parked || one.kept === undefined) continue;
      const observation = this.#deps.observers.resume(endpoint, one.kept, this.#observing(owner, one));
      if (observation === undefined) continue;
      owner.parked -= 1;
      one.open(observation);
      this.#sendRetained(owner, one);
    }
  }

  /** Whether there was one. */
  #removeFrom(owner: Owner, matches: (one: Subscription) => boolean = () => true): boolean {
    const found = [...owner.subscriptions].filter(matches);
    for (const one of found) this.#end(owner, one);
    return found.length > 0;
  }

  #end(owner: Owner, subscription: Subscription, reason?: DropReason, code?: number): void {
    const { observation, durable } = subscription;
    if (!owner.subscriptions.delete(subscription)) return;
    subscription.unsubscribe();
    if (subscription.parked) owner.parked -= 1;
    durable?.owed.clear(reason);
    observation?.end(code === undefined ? undefined : { code });
    if (owner.subscriptions.size === 0 && this.#owners.get(owner.key) === owner) this.#owners.delete(owner.key);
    if (owner.connection === undefined) this.#keepObserver(owner);
    if (durable === undefined) return;
    if (owner.durable) this.#deps.kept.changed(owner.key);
    else this.#deps.kept.forget(owner.key);
  }

  /** Keeps an observer without a connection as it is now, where it can be found again. */
  #keepObserver(owner: Owner): void {
    const { keptObservers, authenticator } = this.#deps;
    const place = owner.endpoint?.place;
    if (place === undefined || owner.subscriptions.size === 0) keptObservers.forget(owner.key);
    else keptObservers.keep(owner.key, () => owner.observerText(place, (name) => authenticator.stampOf(name)));
  }

  /** Clients that were to subscribe again and did not are not waited for any longer. */
  #armSweep(): void {
    const { clock, patience } = this.#deps;
    this.#sweep ??= clock.after('owed sweep', patience, () => {
      this.#sweep = undefined;
      const now = clock.monotonic();
      let waiting = false;
      for (const owner of [...this.#owners.values()]) {
        for (const one of owner.parked > 0 ? [...owner.subscriptions] : []) {
          if (!one.parked || one.kept !== undefined) continue;
          if (now - one.parkedAt >= patience) this.#end(owner, one, 'gone');
          else waiting = true;
        }
      }
      if (waiting) this.#armSweep();
    });
  }

  #retainedTopics(filter: string): string[] {
    return Array.from(this.#deps.source.retained.matching(filter), (message) => message.topic);
  }

  #sendRetained(owner: Owner, subscription: Subscription): void {
    sendRetained(this.#deps.source, subscription, () => {
      if (subscription.durable !== undefined) this.#deps.kept.changed(owner.key);
    });
  }
}
