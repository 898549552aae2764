import type { QoS } from '../../domain/index.ts';
import type { KeptObservation, Place } from '../message-layer.ts';
import { type Fields, fieldsIn, fieldsOf, listOf, observationOf, placeOf, writtenObservation } from './kept-fields.ts';

/** An observer without a connection as it is kept over a restart. */
export interface KeptObserver {
  readonly place: Place;
  readonly subscriptions: readonly ObserverSubscription[];
}

export interface ObserverSubscription {
  readonly filter: string;
  readonly qos: QoS;
  /** Full client id; empty where it gave none. */
  readonly clientId: string;
  readonly username: string;
  /** Of the password that its user had (`Authenticator.stampOf`). */
  readonly stamp: string;
  readonly observation: KeptObservation;
}

export function encodeObserver({ place, subscriptions }: KeptObserver): string {
  const written = subscriptions.map(({ observation, ...rest }) => ({
    ...rest,
    observation: writtenObservation(observation),
  }));
  return JSON.stringify({ place, subscriptions: written });
}

/** Undefined where it is not what `encodeObserver` wrote. */
export function decodeObserver(text: string): KeptObserver | undefined {
  const { place: from, subscriptions } = fieldsIn(text);
  const place = placeOf(fieldsOf(from));
  const whole = listOf(subscriptions, subscriptionOf);
  return place === undefined || whole === undefined ? undefined : { place, subscriptions: whole };
}

function subscriptionOf({
  filter,
  qos,
  clientId,
  username,
  stamp,
  observation: from,
}: Fields): ObserverSubscription | undefined {
  const observation = observationOf(fieldsOf(from));
  if (typeof filter !== 'string' || (qos !== 0 && qos !== 1 && qos !== 2) || observation === undefined)
    return undefined;
  if (typeof clientId !== 'string' || typeof username !== 'string' || typeof stamp !== 'string') return undefined;
  return { filter, qos, clientId, username, stamp, observation };
}
