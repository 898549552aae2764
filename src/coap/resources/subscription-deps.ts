import type { Clock } from '../../base/index.ts';
import type { Message, StoredMessage } from '../../domain/index.ts';
import type { Metrics } from '../../telemetry/index.ts';
import type { CoapRequest, Endpoint, KeptObservation, Observation, ObservationEnd, Place } from '../message-layer.ts';
import type { Journal } from './subscription.ts';

/** Where messages come from. */
export interface MessageSource {
  subscribe(filter: string, subscriber: (message: Message, id: bigint) => void): () => void;
  readonly retained: {
    get(topic: string): StoredMessage | undefined;
    matching(filter: string): Iterable<StoredMessage>;
    topics(): Iterable<string>;
  };
}

/** How a client is to be sent to, and who is told when that ends. */
export interface Observing {
  readonly confirmable: boolean;
  readonly onEnd: (reason: ObservationEnd) => void;
}

/** The message layer's way to observations. */
export interface Observers {
  /** Makes the client of a request an observer. */
  observe(request: CoapRequest, options: Observing): Observation | undefined;
  /** Goes on with an observation that there was. */
  resume(endpoint: Endpoint, kept: KeptObservation, options: Observing): Observation | undefined;
  endpointAt(place: Place): Endpoint | undefined;
}

/** Where connected clients are kept, to be gone on with after a restart. */
export interface ClientStore {
  /** The id of the next message. */
  readonly position: bigint;
  /** `text` tells what there is to keep, whenever it is written; now, it is on the disk when this resolves. */
  keep(clientId: string, text: () => string): Promise<void>;
  /** As `keep`, for one who is on the disk already. */
  goOn(clientId: string, text: () => string): void;
  changed(clientId: string): void;
  forget(clientId: string): void;
  /** A message was acknowledged: the lowest id that is owed may be another. */
  moved(): void;
}

/** Where observers without a connection are kept, to be gone on with after a restart. */
export interface ObserverStore {
  /** `text` tells what there is to keep, whenever it is written. */
  keep(key: string, text: () => string): void;
  /** What was written of it is not to be gone on from. */
  overtaken(key: string): void;
  forget(key: string): void;
}

export interface SubscriptionsDeps {
  readonly source: MessageSource;
  readonly observers: Observers;
  readonly journal: Journal;
  readonly kept: ClientStore;
  readonly keptObservers: ObserverStore;
  /** What tells a user's password from those before and after it. */
  readonly authenticator: { stampOf(username: string): string };
  readonly log: {
    require(id: bigint): void;
    age(message: StoredMessage): number | undefined;
  };
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly maxPerOwner: number;
  /** How long a client that has to subscribe again is waited for, milliseconds. */
  readonly patience: number;
}
