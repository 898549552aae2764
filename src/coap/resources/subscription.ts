import type { GatewayEvent, Message, QoS } from '../../domain/index.ts';
import type { KeptObservation, Observation } from '../message-layer.ts';
import type { Debts, Owed } from './owed.ts';

/** Where deliveries are recorded. */
export interface Journal {
  record(event: GatewayEvent): void;
}

/** What durable subscriptions need beside their own. */
export interface DurableParts {
  readonly owed: Owed;
  readonly debts: Debts;
  /** The message is to be on the disk, whoever else has it. */
  readonly require: (id: bigint) => void;
  /** The first message that it gets has this id, or a higher one. */
  readonly since: bigint;
}

/** Who subscribes, and to what. */
export interface SubscriptionFacts {
  /** A valid filter. */
  readonly filter: string;
  readonly qos: QoS;
  /** Full client id; empty where the client gave none. */
  readonly clientId: string;
  readonly username: string;
}

/** Messages between two times at which that is done: half of what a restart passes over. */
const keepEvery = 0x8000;

/** One client's subscription to a filter. A durable one holds what is not acknowledged, over a restart too. */
export class Subscription {
  readonly filter: string;
  readonly qos: QoS;
  readonly durable: DurableParts | undefined;
  readonly clientId: string;
  readonly username: string;
  readonly #journal: Journal;
  readonly #keep: () => void;
  #observation: Observation | undefined;
  /** How to go on where there is no observation; undefined where the client has to subscribe again. */
  #kept: KeptObservation | undefined;
  /** Waits for its client, since this monotonic time, milliseconds. */
  parked = false;
  parkedAt = 0;
  /** Topics of retained messages that were there when it subscribed, and that the client has not got. */
  due: string[] = [];
  #sent = 0;
  /** Takes it out of the source. */
  unsubscribe: () => void = () => undefined;

  /** `keep`: so much was sent that its place in the sequence is to be kept again. */
  constructor(
    given: SubscriptionFacts & { readonly journal: Journal; readonly keep: () => void },
    durable: DurableParts | undefined,
  ) {
    this.filter = given.filter;
    this.qos = given.qos;
    this.clientId = given.clientId;
    this.username = given.username;
    this.#journal = given.journal;
    this.#keep = given.keep;
    this.durable = durable;
  }

  get observation(): Observation | undefined {
    return this.#observation;
  }

  get kept(): KeptObservation | undefined {
    return this.#observation?.kept ?? this.#kept;
  }

  /** What comes in goes to the client through `observation`; what it is owed first. */
  open(observation: Observation): void {
    this.#observation = observation;
    this.#kept = undefined;
    this.parked = false;
    this.durable?.owed.open((debt, got) => this.send(debt, debt.id, got));
  }

  /** Holds what comes in until the client is there again: `kept` says how to go on with it. */
  park(kept: KeptObservation | undefined, now: number): void {
    this.#observation = undefined;
    this.#kept = kept;
    this.parked = true;
    this.parkedAt = now;
    this.durable?.owed.close();
  }

  deliver(message: Pick<Message, 'payload' | 'qos' | 'expiry'>, id: bigint, age = 0): void {
    if (this.durable === undefined) this.send(message, id);
    else {
      if (message.qos === 0 && this.#observation === undefined) return;
      const { owed, debts, require } = this.durable;
      if (message.qos > 0) require(id);
      owed.add(debts.incur(message, id, age));
    }
    this.#sent += 1;
    if (this.#sent % keepEvery === 0) this.#keep();
  }

  /** Sends a message and records that it was received. `settled` is not called where the observation ends before. */
  send(message: Pick<Message, 'payload'>, id: bigint, settled?: () => void): void {
    const observation = this.#observation;
    if (this.clientId === '' && settled === undefined) {
      observation?.notify(message.payload);
      return;
    }
    observation?.notify(message.payload, {
      onSettled: (outcome) => {
        if (this.clientId !== '' && (outcome === 'sent' || outcome === 'acknowledged')) {
          const qos = this.qos > 0 ? 1 : 0;
          this.#journal.record({ kind: 'delivered', message: id, clientId: this.clientId, qos });
        }
        if (outcome !== 'failed') settled?.();
      },
    });
  }
}
