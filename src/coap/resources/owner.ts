import { type Connection, digestOf } from '../../connections/index.ts';
import type { Endpoint, Place } from '../message-layer.ts';
import { encodeKept, type KeptSubscription } from './kept-client.ts';
import { encodeObserver, type ObserverSubscription } from './kept-observer.ts';
import type { Subscription } from './subscription.ts';

/** A connected client, or an endpoint without a connection, and what it has subscribed to. */
export class Owner {
  /** The client id, or the endpoint's key. */
  readonly key: string;
  readonly subscriptions = new Set<Subscription>();
  /** Of a connected client: the one under which it last subscribed. */
  connection: Connection | undefined;
  /** Of the password that its user had then. */
  stamp = '';
  /** Undefined for a client of an earlier run that was not seen yet. */
  endpoint: Endpoint | undefined;
  /** Where an earlier run had it. */
  place: Place | undefined;
  /** When the endpoint last proved itself, as `Connection.lastSeen`. */
  seen: number;
  /** Subscriptions that wait for the client. */
  parked = 0;

  constructor(key: string, connection: Connection | undefined) {
    this.key = key;
    this.connection = connection;
    this.seen = connection?.lastSeen ?? 0;
  }

  /** Whether it has subscriptions that are kept over a restart. */
  get durable(): boolean {
    for (const { durable } of this.subscriptions) if (durable !== undefined) return true;
    return false;
  }

  /** What there is to keep of a connected client. */
  text(): string {
    if (this.connection === undefined) return '';
    const { username, network, address } = this.connection;
    const subscriptions: KeptSubscription[] = [];
    for (const { filter, qos, kept, durable, due } of this.subscriptions) {
      if (durable === undefined) continue;
      subscriptions.push({ filter, qos, since: durable.since, observation: kept, due: due.length > 0 });
    }
    const place = this.endpoint === undefined ? this.place : this.endpoint.place;
    return encodeKept({
      username,
      stamp: this.stamp,
      network,
      address,
      digest: digestOf(this.connection),
      place,
      subscriptions,
    });
  }

  /** What there is to keep of an observer without a connection. */
  observerText(place: Place, stampOf: (username: string) => string): string {
    const subscriptions: ObserverSubscription[] = [];
    for (const { filter, qos, clientId, username, kept } of this.subscriptions) {
      if (kept !== undefined)
        subscriptions.push({ filter, qos, clientId, username, stamp: stampOf(username), observation: kept });
    }
    return encodeObserver({ place, subscriptions });
  }
}
