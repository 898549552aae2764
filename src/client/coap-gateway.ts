import { type Clock, type ErrorCode, HoldfastError, type Timer } from '../base/index.ts';
import { type ClientResponse, type CoapClient, codes, codeText, methods, type Observer } from '../coap/index.ts';
import type { QoS } from '../domain/index.ts';
import type { GatewayClient, GatewayEvents, GatewayTarget, Publication, Refused } from './gateway-client.ts';
import { printable } from './reasons.ts';

const farewellTimeout = 2_000;
/** A gateway that is gone is found out within this, or half a heartbeat. */
const longestBeat = 5_000;
const login = ['mqtt', 'connection'];

export interface CoapGatewayDeps {
  readonly clock: Clock;
  readonly client: CoapClient;
}

/** A gateway over CoAP, by the API of EMQX's. */
export class CoapGateway implements GatewayClient {
  readonly #target: GatewayTarget;
  readonly #events: GatewayEvents;
  readonly #clock: Clock;
  readonly #client: CoapClient;
  /** What proves who we are in a request to `ps/`. */
  #proof: readonly string[];
  #connected = false;
  #heartbeat: Timer | undefined;
  /** A heartbeat is not answered yet. */
  #beating = false;
  #subscriptions: { readonly path: readonly string[]; readonly query: readonly string[] }[] = [];
  #over = false;

  constructor(target: GatewayTarget, events: GatewayEvents, { clock, client }: CoapGatewayDeps) {
    this.#target = target;
    this.#events = events;
    this.#clock = clock;
    this.#client = client;
    const { clientId, username, password } = target;
    this.#proof = [
      `clientid=${clientId}`,
      ...(username === undefined ? [] : [`username=${username}`]),
      ...(password === undefined ? [] : [`password=${password}`]),
    ];
  }

  /** @throws HoldfastError where there is no way, or the login is refused. */
  async open(): Promise<void> {
    try {
      await this.#client.open();
      if (this.#target.coapMode !== 'connectionless') await this.#connect();
    } catch (thrown) {
      this.#over = true;
      this.#client.close();
      throw this.#at(thrown);
    }
  }

  async publish({ topic, payload, qos, retain }: Publication): Promise<void> {
    const query = [...this.#proof, `qos=${qos}`, ...(retain ? ['retain=true'] : [])];
    const answer = await this.#request({ method: methods.post, path: pathOf(topic), query, payload });
    if (answer.code !== codes.changed) throw refusal(answer, `the message to ${printable(topic)} was refused`);
  }

  async subscribe(filters: readonly string[], qos: QoS): Promise<readonly Refused[]> {
    if (!this.#connected && this.#target.coapMode === 'connectionless') await this.#tried(() => this.#connect());
    const refused: Refused[] = [];
    for (const filter of filters) {
      const request = { method: methods.get, path: pathOf(filter), query: [...this.#proof, `qos=${qos}`] };
      const observer = this.#observer(filter);
      const answer = await this.#tried(() => this.#client.observe(request, observer));
      if (answer.code >> 5 === 2) this.#subscriptions.push(request);
      else refused.push({ filter, reason: refusal(answer, 'refused').message });
      // the answer of some servers is the retained message
      if (answer.code === codes.content && answer.payload.length > 0) void observer.notified(answer.payload);
    }
    return refused;
  }

  async close(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    this.#heartbeat?.cancel();
    await new Promise<void>((resolve) => {
      const late = this.#clock.after('coap farewell', farewellTimeout, resolve);
      const done = () => {
        late.cancel();
        resolve();
      };
      this.#farewell().then(done, done);
    });
    this.#client.close();
  }

  /** The way to the gateway broke. */
  failed(reason: HoldfastError): void {
    this.#lost(reason);
  }

  async #connect(): Promise<void> {
    const answer = await this.#client.request({ method: methods.post, path: login, query: this.#proof });
    const { clientId, coapMode, heartbeat } = this.#target;
    if (answer.code === codes.created) {
      this.#proof = [`clientid=${clientId}`, `token=${answer.payload.toString()}`];
      this.#connected = true;
      this.#heartbeat = this.#clock.every('coap heartbeat', Math.min(heartbeat / 2, longestBeat), () => this.#beat());
      return;
    }
    const none = answer.code === codes.notFound || answer.code === codes.methodNotAllowed;
    if (!none || coapMode === 'connection') throw refusal(answer, 'the login was refused');
  }

  #beat(): void {
    if (this.#beating) return;
    this.#beating = true;
    this.#client.request({ method: methods.put, path: login, query: this.#proof }).then(
      (answer) => {
        this.#beating = false;
        if (answer.code !== codes.created) this.#lost(refusal(answer, 'the gateway has forgotten this client', true));
      },
      (thrown: unknown) => {
        if (thrown instanceof HoldfastError) this.#lost(thrown);
      },
    );
  }

  #observer(filter: string): Observer {
    const named = /[+#]/.test(filter) ? { filter } : { topic: filter, filter };
    return {
      notified: (payload) => (this.#over ? undefined : this.#events.received({ ...named, payload })),
      missed: (reason) => {
        if (!this.#over) this.#events.missed(reason);
      },
      ended: (last) => this.#lost(refusal(last, `the gateway ended the subscription to ${printable(filter)}`, true)),
    };
  }

  async #farewell(): Promise<void> {
    if (this.#connected) {
      await this.#client.request({ method: methods.delete, path: login, query: this.#proof });
      return;
    }
    for (const { path, query } of this.#subscriptions) {
      await this.#client.cancel({ method: methods.get, path, query });
    }
  }

  #lost(reason: HoldfastError): void {
    if (this.#over) return;
    this.#over = true;
    this.#heartbeat?.cancel();
    this.#client.close();
    this.#events.lost(this.#at(reason));
  }

  #request(request: Parameters<CoapClient['request']>[0]): Promise<ClientResponse> {
    return this.#tried(() => this.#client.request(request));
  }

  async #tried<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (thrown) {
      throw this.#at(thrown);
    }
  }

  /** The error with the place where it happened. */
  #at(thrown: unknown): HoldfastError {
    if (!(thrown instanceof HoldfastError)) throw thrown;
    const { url } = this.#target;
    return thrown.message.includes(url) ? thrown : new HoldfastError(thrown.code, `${url}: ${thrown.message}`);
  }
}

function pathOf(topic: string): string[] {
  return ['ps', ...topic.split('/')];
}

const reasons: Readonly<Record<number, readonly [ErrorCode, string]>> = {
  [codes.badRequest]: ['bad_request', 'bad request'],
  [codes.unauthorized]: ['access_denied', 'not authorised'],
  [codes.forbidden]: ['access_denied', 'not authorised'],
  [codes.notFound]: ['bad_request', 'there is no such resource'],
  [codes.methodNotAllowed]: ['bad_request', 'not possible there'],
  [codes.requestEntityIncomplete]: ['unavailable', 'a part of the payload was lost'],
  [codes.requestEntityTooLarge]: ['payload_too_large', 'the payload is too large'],
  [codes.tooManyRequests]: ['overloaded', 'too many requests'],
  [codes.serviceUnavailable]: ['unavailable', 'the gateway cannot take it now'],
};

/** An error of an answer; its text says the code, what that means, and what the server said. `again`: it may work later. */
function refusal({ code, payload }: ClientResponse, what: string, again = false): HoldfastError {
  const said = printable(payload.toString());
  const [error, meaning] = reasons[code] ?? (['unavailable', 'not what was expected'] as const);
  const text = said === '' ? meaning : said;
  return new HoldfastError(again ? 'unavailable' : error, `${what}: ${codeText(code)} ${text}`);
}
