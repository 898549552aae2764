import { type IClientOptions, type IPublishPacket, type MqttClient, connect as mqttConnect } from 'mqtt';
import { type Clock, HoldfastError } from '../base/index.ts';
import type { QoS } from '../domain/index.ts';
import type { Place } from './connect.ts';
import type { GatewayClient, GatewayEvents, GatewayTarget, Publication, Received, Refused } from './gateway-client.ts';
import { tlsOptions } from './identity.ts';
import { connectionError, printable, refusalOf } from './reasons.ts';

const connectTimeout = 10_000;
const subscribeTimeout = 10_000;
const farewellTimeout = 1_000;
/** Seconds. */
const keepalive = 30;
/** What a server answers that does not speak MQTT 5: 3.1.1's and 5's own way to say so. */
const unsupportedProtocol: ReadonlySet<unknown> = new Set([0x01, 0x84]);

type Failure = Error & { readonly code?: unknown };

/** A gateway over MQTT. */
export class MqttGateway implements GatewayClient {
  readonly #client: MqttClient;
  readonly #url: string;
  readonly #events: GatewayEvents;
  readonly #clock: Clock;
  /** What waits for an acknowledgement: mqtt.js may never call back after a loss. */
  readonly #waiting = new Set<(reason: HoldfastError) => void>();
  #reason: HoldfastError | undefined;
  #over = false;

  /** @throws HoldfastError where there is no way, or the login is refused. */
  static async connect(
    target: GatewayTarget,
    place: Place,
    events: GatewayEvents,
    clock: Clock,
  ): Promise<GatewayClient> {
    if (!target.mqtt311) {
      const five = await MqttGateway.#attempt(target, place, 5, events, clock);
      if (five !== undefined) return five;
    }
    const gateway = await MqttGateway.#attempt(target, place, 4, events, clock);
    if (gateway === undefined) {
      throw new HoldfastError('unavailable', `${target.url} closed the connection without an answer to the login`);
    }
    return gateway;
  }

  /** Undefined where the server may not speak that version. */
  static #attempt(
    target: GatewayTarget,
    place: Place,
    version: 4 | 5,
    events: GatewayEvents,
    clock: Clock,
  ): Promise<MqttGateway | undefined> {
    return new Promise((resolve, reject) => {
      const failed = (thrown: Failure | undefined) => {
        client?.end(true);
        if (thrown === undefined || (version === 5 && unsupportedProtocol.has(thrown.code))) resolve(undefined);
        else if (typeof thrown.code === 'number') {
          reject(refusalOf(thrown.code, `the login at ${target.url} was refused`));
        } else reject(connectionError(target.url, thrown));
      };
      let client: MqttClient | undefined;
      let error: Failure | undefined;
      try {
        client = mqttConnect(optionsOf(target, place, version));
      } catch (thrown) {
        // a certificate that does not parse, for one
        failed(thrown as Error);
        return;
      }
      const opened = client;
      opened.on('error', (thrown) => {
        error ??= thrown;
      });
      const closed = () => failed(error);
      opened.once('close', closed);
      // mqtt.js has no `close` for what fails before there is a stream
      opened.once('end', closed);
      opened.once('connect', () => {
        opened.removeAllListeners('error').off('close', closed).off('end', closed);
        resolve(new MqttGateway(opened, target.url, events, clock));
      });
    });
  }

  private constructor(client: MqttClient, url: string, events: GatewayEvents, clock: Clock) {
    this.#client = client;
    this.#url = url;
    this.#events = events;
    this.#clock = clock;
    client.on('error', (thrown: Failure) => {
      this.#reason ??= connectionError(url, thrown);
      client.end(true);
    });
    client.on('disconnect', ({ reasonCode = 0, properties }) => {
      this.#reason ??= refusalOf(reasonCode, `${url} closed the connection`, properties?.reasonString);
    });
    client.once('close', () => this.#closed());
    client.handleMessage = (packet, next) => {
      const taken = this.#over ? undefined : events.received(receivedOf(packet));
      if (taken === undefined) next();
      else void taken.then(() => next());
    };
  }

  publish({ topic, payload, qos, retain }: Publication): Promise<void> {
    return this.#answered((resolve, reject) => {
      this.#client.publish(topic, payload, { qos, retain }, (thrown) => {
        const code = (thrown as Failure | undefined)?.code;
        // a reason code below 0x80 is none of a refusal: 0x10 says that nobody has subscribed
        if (!thrown || (typeof code === 'number' && code < 0x80)) resolve();
        else if (typeof code === 'number') reject(refusalOf(code, `the message to ${printable(topic)} was refused`));
        // else it is mqtt.js's own words for a connection that is over, of which `close` knows more
      });
    });
  }

  subscribe(filters: readonly string[], qos: QoS): Promise<readonly Refused[]> {
    return this.#answered<readonly Refused[]>((resolve, reject) => {
      const late = this.#clock.after('mqtt suback', subscribeTimeout, () =>
        reject(new HoldfastError('unavailable', `${this.#url} does not answer the subscription`)),
      );
      this.#client.subscribe([...filters], { qos }, (thrown, _granted, packet) => {
        late.cancel();
        const granted = packet?.granted as readonly number[] | undefined;
        if (granted?.length !== filters.length) {
          reject(connectionError(this.#url, thrown ?? new Error('the subscription was not answered as it has to be')));
          return;
        }
        resolve(filters.flatMap((filter, at) => refusedOf(filter, granted[at] ?? 0x80)));
      });
    });
  }

  close(): Promise<void> {
    if (this.#over) return Promise.resolve();
    this.#over = true;
    return new Promise((resolve) => {
      const late = this.#clock.after('mqtt farewell', farewellTimeout, () => {
        this.#client.end(true);
        resolve();
      });
      // what is not acknowledged by now is not waited for
      this.#client.once('close', () => {
        late.cancel();
        resolve();
      });
      if (this.#waiting.size > 0) this.#client.end(true);
      else this.#client.end();
    });
  }

  #answered<T>(
    ask: (resolve: (value: T | PromiseLike<T>) => void, reject: (reason: HoldfastError) => void) => void,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#over) {
        reject(this.#reason ?? new HoldfastError('unavailable', 'the connection is closed'));
        return;
      }
      const refuse = (reason: HoldfastError) => {
        this.#waiting.delete(refuse);
        reject(reason);
      };
      this.#waiting.add(refuse);
      ask((value) => {
        this.#waiting.delete(refuse);
        resolve(value);
      }, refuse);
    });
  }

  #closed(): void {
    this.#reason ??= new HoldfastError('unavailable', `${this.#url} closed the connection`);
    const { message, code } = this.#reason;
    for (const refuse of [...this.#waiting]) {
      refuse(new HoldfastError(code, `${message}, without an acknowledgement`));
    }
    if (this.#over) return;
    this.#over = true;
    this.#events.lost(this.#reason);
  }
}

/** `code`: of a SUBACK. That of 3.1.1 has one for every refusal, and no reason. */
function refusedOf(filter: string, code: number): Refused[] {
  if (code < 0x80) return [];
  if (code === 0x80) return [{ filter, reason: 'refused: not allowed by the access rules, or one too many' }];
  return [{ filter, reason: refusalOf(code, 'refused').message }];
}

function receivedOf({ topic, payload, qos, retain, properties = {} }: IPublishPacket): Received {
  const { userProperties, contentType, responseTopic, correlationData, messageExpiryInterval } = properties;
  return {
    topic,
    payload: typeof payload === 'string' ? Buffer.from(payload) : payload,
    qos,
    retain,
    ...(userProperties === undefined ? {} : { userProperties: { ...userProperties } }),
    ...(contentType === undefined ? {} : { contentType }),
    ...(responseTopic === undefined ? {} : { responseTopic }),
    ...(correlationData === undefined ? {} : { correlationData }),
    ...(messageExpiryInterval === undefined ? {} : { messageExpiry: messageExpiryInterval }),
  };
}

function optionsOf(target: GatewayTarget, place: Place, version: 4 | 5): IClientOptions {
  const { scheme, host, port, path } = place;
  const web = scheme === 'ws' || scheme === 'wss';
  const tls = scheme === 'mqtts' || scheme === 'wss' ? tlsOptions(target) : {};
  const shown = web && host.includes(':') ? `[${host}]` : host;
  return {
    protocol: scheme as 'mqtt' | 'mqtts' | 'ws' | 'wss',
    host: shown,
    hostname: shown,
    port,
    ...tls,
    ...(web ? { path, wsOptions: tls } : {}),
    clientId: target.clientId,
    ...(target.username === undefined ? {} : { username: target.username }),
    ...(target.password === undefined ? {} : { password: target.password }),
    protocolId: 'MQTT',
    protocolVersion: version,
    clean: true,
    keepalive,
    timerVariant: 'native',
    connectTimeout,
    reconnectPeriod: 0,
    resubscribe: false,
  };
}
