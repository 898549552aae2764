import type { Network, QoS } from '../../domain/index.ts';
import type { KeptObservation, Place } from '../message-layer.ts';
import { type Fields, fieldsIn, fieldsOf, listOf, observationOf, placeOf, writtenObservation } from './kept-fields.ts';

/** A connected client as it is kept over a restart. */
export interface KeptClient {
  readonly username: string;
  /** Of the password that its user had when it subscribed (`Authenticator.stampOf`). */
  readonly stamp: string;
  readonly network: Network;
  /** As shown, e.g. `192.0.2.7:49152`. */
  readonly address: string;
  /** SHA-256 of the connection's token, base64url. */
  readonly digest: string;
  /** Where it was; undefined over a secure transport. */
  readonly place: Place | undefined;
  readonly subscriptions: readonly KeptSubscription[];
}

export interface KeptSubscription {
  readonly filter: string;
  readonly qos: QoS;
  /** It gets messages from this id on. */
  readonly since: bigint;
  /** Undefined where the client has to subscribe again. */
  readonly observation: KeptObservation | undefined;
  /** It has not got all the retained messages that were there when it subscribed. */
  readonly due: boolean;
}

/** JSON, with bytes in base64 and ids in hexadecimal. */
export function encodeKept(client: KeptClient): string {
  const subscriptions = client.subscriptions.map(({ since, observation, ...rest }) => ({
    ...rest,
    since: since.toString(16),
    observation: observation === undefined ? undefined : writtenObservation(observation),
  }));
  return JSON.stringify({ ...client, subscriptions });
}

/** Undefined where it is not what `encodeKept` wrote. */
export function decodeKept(text: string): KeptClient | undefined {
  const { username, stamp = '', network, address, digest, place, subscriptions } = fieldsIn(text);
  if (typeof username !== 'string' || typeof stamp !== 'string') return undefined;
  if ((network !== 'coap' && network !== 'coaps') || typeof address !== 'string') return undefined;
  const whole = listOf(subscriptions, subscriptionOf);
  if (typeof digest !== 'string' || digest === '' || whole === undefined) return undefined;
  return { username, stamp, network, address, digest, place: placeOf(fieldsOf(place)), subscriptions: whole };
}

function subscriptionOf({ filter, qos, since, observation, due }: Fields): KeptSubscription | undefined {
  if (typeof filter !== 'string' || (qos !== 1 && qos !== 2)) return undefined;
  if (typeof since !== 'string' || !/^[0-9a-f]{1,16}$/.test(since)) return undefined;
  const kept = observationOf(fieldsOf(observation));
  return { filter, qos, since: BigInt(`0x${since}`), observation: kept, due: due === true };
}
