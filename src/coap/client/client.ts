import { type Clock, HoldfastError } from '../../base/index.ts';
import { classOf, codes } from '../codes.ts';
import type { Message } from '../decode.ts';
import { optionNumbers } from '../option-numbers.ts';
import { type ClientRequest, type ClientResponse, download, has, upload, uriOptions } from './body.ts';
import type { Datagrams } from './datagrams.ts';
import { defaultExchangeOptions, type ExchangeOptions } from './exchange.ts';
import { Requests } from './requests.ts';

/** What becomes of an observation. */
export interface Observer {
  /** A notification's whole body, in the order of arrival. It is acknowledged once what this returns is fulfilled. */
  notified(payload: Buffer): Promise<void> | undefined;
  /** A notification whose body could not be had whole. */
  missed(reason: HoldfastError): void;
  /** The server ended it. */
  ended(last: ClientResponse): void;
}

export interface CoapClientDeps {
  readonly datagrams: Datagrams;
  readonly clock: Clock;
  /** The way to the server broke; every request has failed already. */
  readonly failed: (reason: HoldfastError) => void;
  readonly options?: Partial<ExchangeOptions>;
  /** In [0, 1); default: `Math.random`. */
  readonly random?: () => number;
}

/** NON notifications that wait for the observer; what is beyond is dropped. A CON waits at the server. */
const maxWaiting = 1_000;

/**
 * A client of one server. Requests are confirmable, retransmitted (RFC 7252 §4.2), one unacknowledged at a time; their bodies
 * and those of answers and notifications go in blocks where they must (RFC 7959).
 */
export class CoapClient {
  readonly #requests: Requests;
  /** Notifications, one after the other. */
  #turn: Promise<void> = Promise.resolve();
  #waiting = 0;

  constructor({ datagrams, clock, failed, options, random = Math.random }: CoapClientDeps) {
    this.#requests = new Requests({
      datagrams,
      clock,
      failed,
      random,
      options: { ...defaultExchangeOptions, ...options },
    });
  }

  /** @throws HoldfastError `unavailable`. */
  open(): Promise<void> {
    return this.#requests.open();
  }

  /** @throws HoldfastError `unavailable` without an answer; `bad_request` where CoAP has no room for the request. */
  async request(request: ClientRequest): Promise<ClientResponse> {
    const answer = await upload(this.#requests, request);
    return { code: answer.code, payload: await download(this.#requests, request, answer) };
  }

  /**
   * Registers for notifications (RFC 7641); the answer. Where it is no success, or the server does not take the
   * registration, there will be none: the latter is an error.
   * @throws HoldfastError as `request`.
   */
  async observe(request: ClientRequest, observer: Observer): Promise<ClientResponse> {
    const requests = this.#requests;
    const token = requests.newToken();
    const options = [...uriOptions(request), [optionNumbers.observe, 0] as const];
    requests.watch(token, (message, acknowledge) => this.#notified(request, token, observer, message, acknowledge));
    try {
      const answer = await requests.request({ code: request.method, options, token });
      const payload = await download(requests, request, answer);
      if (classOf(answer.code) !== 2) requests.unwatch(token);
      else if (has(answer, optionNumbers.observe) === undefined) {
        throw new HoldfastError('unavailable', 'the server does not offer to be observed there');
      }
      return { code: answer.code, payload };
    } catch (thrown) {
      requests.unwatch(token);
      throw thrown;
    }
  }

  /** Asks the server to end the observations of that request's URI. Rejected as `request`. */
  async cancel(request: ClientRequest): Promise<void> {
    const options = [...uriOptions(request), [optionNumbers.observe, 1] as const];
    await this.#requests.request({ code: request.method, options });
  }

  /** Nothing is sent or told any more; requests under way are rejected. */
  close(): void {
    this.#requests.close();
  }

  #notified(
    request: ClientRequest,
    token: Uint8Array,
    observer: Observer,
    message: Message,
    acknowledge: () => void,
  ): void {
    if (this.#waiting >= maxWaiting) return;
    this.#waiting += 1;
    this.#turn = this.#turn.then(async () => {
      try {
        await this.#deliver(request, token, observer, message);
      } catch (thrown) {
        if (!(thrown instanceof HoldfastError)) throw thrown;
        observer.missed(thrown);
      } finally {
        this.#waiting -= 1;
        acknowledge();
      }
    });
  }

  async #deliver(request: ClientRequest, token: Uint8Array, observer: Observer, message: Message): Promise<void> {
    const goesOn = message.code === codes.content && has(message, optionNumbers.observe) !== undefined;
    if (!goesOn) this.#requests.unwatch(token);
    const payload = await download(this.#requests, request, message);
    if (goesOn) await observer.notified(payload);
    else observer.ended({ code: message.code, payload });
  }
}
