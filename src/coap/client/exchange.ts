import { type Clock, HoldfastError, type Timer } from '../../base/index.ts';
import type { Message } from '../decode.ts';
import { type CoapOptions, defaultCoapOptions } from '../options.ts';

/** Times in milliseconds. */
export interface ExchangeOptions extends Pick<CoapOptions, 'ackTimeout' | 'ackRandomFactor' | 'maxRetransmit'> {
  /** How long an answer may take once the request was acknowledged. */
  readonly answerTimeout: number;
}

const { ackTimeout, ackRandomFactor, maxRetransmit } = defaultCoapOptions;

export const defaultExchangeOptions: ExchangeOptions = {
  ackTimeout,
  ackRandomFactor,
  maxRetransmit,
  answerTimeout: 93_000,
};

export interface ExchangeDeps {
  readonly clock: Clock;
  readonly options: ExchangeOptions;
  /** In [0, 1). */
  readonly random: () => number;
  readonly send: (datagram: Uint8Array) => void;
  /** The next one may be sent (NSTART, RFC 7252 §4.7): this one is acknowledged, answered or given up. */
  readonly onAcknowledged: () => void;
  /** Called once. */
  readonly onEnd: (outcome: Message | HoldfastError) => void;
}

/** A confirmable request from its first sending to its answer: retransmission (RFC 7252 §4.2), separate answer (§5.2.2). */
export class Exchange {
  readonly messageId: number;
  /** In hexadecimal. */
  readonly token: string;
  readonly #datagram: Uint8Array;
  readonly #deps: ExchangeDeps;
  #timer: Timer | undefined;
  #retransmissions = 0;
  #acknowledged = false;
  #over = false;

  constructor(messageId: number, token: string, datagram: Uint8Array, deps: ExchangeDeps) {
    this.messageId = messageId;
    this.token = token;
    this.#datagram = datagram;
    this.#deps = deps;
  }

  start(): void {
    const { ackTimeout, ackRandomFactor } = this.#deps.options;
    this.#transmit(ackTimeout * (1 + this.#deps.random() * (ackRandomFactor - 1)));
  }

  /** An empty ACK came: the answer follows by itself. */
  acknowledge(): void {
    if (this.#acknowledged || this.#over) return;
    this.#proceed();
    this.#timer = this.#deps.clock.after('coap answer', this.#deps.options.answerTimeout, () =>
      this.end(new HoldfastError('unavailable', 'the request was acknowledged and never answered')),
    );
  }

  end(outcome: Message | HoldfastError): void {
    if (this.#over) return;
    this.#over = true;
    this.#deps.onEnd(outcome);
    this.#proceed();
  }

  #transmit(timeout: number): void {
    this.#deps.send(this.#datagram);
    if (this.#over) return;
    this.#timer = this.#deps.clock.after('coap retransmission', timeout, () => {
      if (this.#retransmissions >= this.#deps.options.maxRetransmit) {
        this.end(new HoldfastError('unavailable', `no answer to ${this.#retransmissions + 1} requests`));
        return;
      }
      this.#retransmissions += 1;
      this.#transmit(2 * timeout);
    });
  }

  #proceed(): void {
    this.#timer?.cancel();
    if (this.#acknowledged) return;
    this.#acknowledged = true;
    this.#deps.onAcknowledged();
  }
}
