import type { Aedes, AedesOptions, AuthenticateError, Client } from 'aedes';
import { HoldfastError, reasonOf } from '../base/index.ts';
import type { AccessRules, Authenticator, Connection, ConnectionRegistry, Identity } from '../connections/index.ts';
import { type EndReason, fullClientId, type GatewayEvent, type Message, topicFilterProblem } from '../domain/index.ts';
import type { Sessions } from '../sessions/index.ts';
import type { Logger, Metrics } from '../telemetry/index.ts';
import { addressOf, type ConnectRequest, factsOf, hostOf, type NetworkStream } from './facts.ts';
import { connectedClient, idOf, isBlocked, isWanted, type RetainedSource, subscriptionsOf } from './forwarding.ts';
import type { Hub } from './hub.ts';
import { IncomingHandshakes } from './incoming.ts';
import { OutgoingWindow, type WindowOptions } from './outgoing.ts';
import type { PublishReceived } from './packet-stream.ts';
import type { Traffic } from './traffic.ts';

/** The way in for messages. */
export interface MessageSink {
  publish(message: Message, done: (error?: HoldfastError, id?: bigint) => void): void;
}

export interface AdmissionDeps {
  readonly appId: string;
  readonly authenticator: Authenticator;
  readonly rules: AccessRules;
  readonly registry: ConnectionRegistry;
  readonly sink: MessageSink;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly maxSubscriptions: number;
  readonly sessions: Sessions;
  readonly journal: DeliveryJournal;
  readonly hub: Hub;
  readonly retained: RetainedSource;
  readonly traffic: Traffic;
  readonly window: WindowOptions;
  /** QoS 2 messages from one client that it has not released. */
  readonly maxHandshakes: number;
}

/** Where deliveries are recorded. */
export interface DeliveryJournal {
  record(event: GatewayEvent): void;
}

interface Admitted extends Identity {
  connection: Connection | undefined;
  /** Id of the connection, also once it is over: a will comes last. */
  connectionId: bigint;
  /** Why it is about to end, where that is known before it does. */
  reason: EndReason | undefined;
}

const identifierRejected = 2;
const serverUnavailable = 3;
const badLogin = 4;
const notAuthorized = 5;
const nobody: Identity = { clientId: '', username: '' };

/** Who may connect, publish and subscribe over MQTT: aedes's hooks, answered from what the other protocols use too. */
export class MqttAdmission {
  readonly #deps: AdmissionDeps;
  readonly #admitted = new WeakMap<Client, Admitted>();
  readonly #asked = new WeakMap<Client, ConnectRequest>();
  readonly #granted = new WeakSet<object>();
  readonly #windows = new WeakMap<object, OutgoingWindow>();
  readonly #handshakes: IncomingHandshakes;
  readonly #denied;
  #stopping = false;

  constructor(deps: AdmissionDeps) {
    this.#deps = deps;
    this.#handshakes = new IncomingHandshakes(deps.sessions, deps.maxHandshakes);
    this.#denied = deps.metrics.counter(
      'holdfast_mqtt_denied_total',
      'Publishes acknowledged and dropped by access rules.',
    );
  }

  /** The hooks, as aedes takes them. */
  get hooks(): AedesOptions {
    return {
      preConnect: (client, packet, callback) => {
        this.#windows.set(client, new OutgoingWindow(client, this.#deps));
        const nameless = packet.clean === false && (packet.clientId ?? '') === '';
        this.#asked.set(client, { keepalive: packet.keepalive ?? 0, nameless });
        callback(null, true);
      },
      authenticate: (client, username, password, done) => void this.#authenticate(client, username, password, done),
      authorizePublish: (client, packet, callback) => {
        const payload = typeof packet.payload === 'string' ? Buffer.from(packet.payload) : packet.payload;
        const { topic, qos, retain } = packet;
        const message = { topic, payload, qos, retain };
        const messageId = messageIdOf(packet);
        // without an identifier it is a will
        if (qos < 2 || client === null || messageId === undefined) this.#publish(client, message, callback);
        else this.#handshakes.receive(client, messageId, (done) => this.#publish(client, message, done), callback);
      },
      authorizeSubscribe: (client, subscription, callback) => {
        const granted = this.#maySubscribe(client, subscription.topic);
        if (granted) this.#granted.add(subscription);
        // a session's own at its return: the rules have changed since
        else if (!connackSent(client)) this.#deps.sessions.forget(client.id, [subscription.topic]);
        callback(null, granted ? subscription : null);
      },
      authorizeForward: (client, packet) => {
        if (!isWanted(client, packet)) return null;
        this.#deps.traffic.sentPublish();
        const message = packet.dup ? undefined : idOf(packet);
        if (message !== undefined)
          this.#deps.journal.record({ kind: 'delivered', message, clientId: client.id, qos: packet.qos });
        return packet;
      },
    };
  }

  /** Whether that very object was granted to its client. */
  wasGranted(subscription: object): boolean {
    return this.#granted.has(subscription);
  }

  /** A client has acknowledged a message. */
  acknowledged(client: object, messageId: number | undefined): void {
    this.#windows.get(client)?.acknowledged(messageId);
  }

  /** A PUBLISH of QoS 0 or 1 from a client that is in. The next packets are read once it is acknowledged. */
  received(client: Client, { topic, payload, qos, retain, messageId }: PublishReceived): void {
    const packet = { topic, payload, qos, retain };
    if (qos === 0) {
      this.#publish(client, packet, ignored);
      return;
    }
    const inside = client as unknown as ClientInside;
    inside._parsingBatch += 1;
    this.#publish(client, packet, (error) => {
      if (client.closed) return;
      if (error) {
        client.emit('error', error);
        return;
      }
      this.#windows.get(client)?.puback(messageId);
      if (isBlocked(client)) inside.waitForDrain(() => inside._nextBatch());
      else inside._nextBatch();
    });
  }

  usernameOf(client: Client): string {
    return this.#admitted.get(client)?.username ?? '';
  }

  /** The client is in, and its CONNACK about to be sent. */
  registered(client: Client): void {
    if (!client.clean) this.#deps.sessions.opened(client.id, client);
  }

  /** The client has its SUBACK: filters, each with the QoS that was granted, or what says that it was not. */
  subscribed(client: Client, granted: readonly { readonly topic: string; readonly qos: number }[]): void {
    const filters = granted.flatMap(({ topic, qos }) => (qos > 2 ? [] : [topic]));
    this.#windows.get(client)?.subscribed(filters);
  }

  /** The client has its CONNACK, and the backlog of its session. */
  ready(client: Client): void {
    const admitted = this.#admitted.get(client);
    if (admitted === undefined) return;
    const session = client.clean ? undefined : this.#deps.sessions.get(client.id);
    if (session?.owner === client) this.#windows.get(client)?.resumed(session);
    try {
      admitted.connection = this.#deps.registry.open({
        ...factsOf(client, admitted, this.#asked.get(client)),
        protocol: 'mqtt',
        timeout: 0,
        onEnd: () => {
          admitted.connection = undefined;
          client.close();
        },
      });
      admitted.connectionId = admitted.connection.connection;
    } catch (thrown) {
      this.#deps.logger.warn({ client: admitted.clientId, reason: reasonOf(thrown) }, 'a client was sent away');
      client.close();
    }
  }

  /** Says why the connection is about to end, where that is known before it does. */
  failed(client: Client, reason: EndReason): void {
    const admitted = this.#admitted.get(client);
    if (admitted !== undefined) admitted.reason ??= reason;
  }

  /** From now on connections end because the gateway stops. */
  stopping(): void {
    this.#stopping = true;
  }

  gone(client: Client): void {
    if (!client.clean) this.#deps.sessions.closed(client.id, client);
    const admitted = this.#admitted.get(client);
    if (admitted?.connection === undefined) return;
    const saidSo = (client as unknown as { readonly _disconnected: boolean })._disconnected;
    const reason = admitted.reason ?? (saidSo ? 'normal' : this.#stopping ? 'server_shutdown' : 'socket_error');
    this.#deps.registry.close(admitted.connection, reason);
  }

  async #authenticate(
    client: Client,
    username: string | undefined,
    password: Buffer | undefined,
    done: (error: AuthenticateError | null, success: boolean | null) => void,
  ): Promise<void> {
    const { authenticator, appId, logger } = this.#deps;
    try {
      if (this.#asked.get(client)?.nameless === true)
        return done(refusal('a client id is needed for a session', identifierRejected), null);
      const clientId = fullClientId(client.id, appId);
      const { identity } = client.conn as NetworkStream;
      const login =
        identity === undefined
          ? await authenticator.login({
              username,
              password: password?.toString(),
              clientId,
              address: hostOf(client),
            })
          : { ok: identity !== '', username: identity };
      if (!login.ok) {
        logger.info({ client: clientId, address: addressOf(client) }, 'a login was refused');
        const who = { clientId, username: username ?? '' };
        this.#deps.registry.refused(factsOf(client, who, this.#asked.get(client)));
        return done(refusal('not authorized', username === undefined ? notAuthorized : badLogin), null);
      }
      // one identity, whether the AppID was written out or not; aedes files the session under it
      Object.assign(client, { id: clientId });
      // aedes closes it once this one is registered
      const older = connectedClient((client as unknown as ClientInside).broker, clientId);
      if (older !== undefined) this.failed(older, 'taken_over');
      this.#admitted.set(client, {
        clientId,
        username: login.username,
        connection: undefined,
        connectionId: 0n,
        reason: undefined,
      });
      done(null, true);
    } catch (thrown) {
      const code =
        thrown instanceof HoldfastError && thrown.code === 'invalid_client_id' ? identifierRejected : serverUnavailable;
      logger.info({ address: addressOf(client), reason: reasonOf(thrown) }, 'a login was refused');
      done(refusal(reasonOf(thrown), code), null);
    }
  }

  /**
   * The message is on disk, or routed where it is QoS 0, before `callback` lets the acknowledgement out. An error ends the
   * connection without one. A refusal by the rules is acknowledged and dropped, as MQTT 3.1.1 §3.3.5 has it.
   */
  #publish(
    client: Client | null,
    packet: Pick<Message, 'topic' | 'payload' | 'qos' | 'retain'>,
    callback: (error?: Error | null) => void,
  ): void {
    const admitted = client === null ? undefined : this.#admitted.get(client);
    const who: Identity = admitted ?? nobody;
    const message: Message = {
      topic: packet.topic,
      payload: packet.payload,
      qos: packet.qos,
      retain: packet.retain,
      expiry: 0,
      origin: 'mqtt',
      upstream: '',
      clientId: who.clientId,
      username: who.username,
      connection: admitted?.connectionId ?? 0n,
    };
    this.#deps.sink.publish(message, (error) => {
      if (error?.code === 'access_denied') {
        this.#denied.add();
        this.#deps.logger.debug({ client: who.clientId, topic: packet.topic }, 'a publish was not allowed');
      } else if (error !== undefined) {
        if (packet.qos > 0) return callback(error);
        this.#deps.logger.debug({ client: who.clientId, reason: error.message }, 'a QoS 0 message was dropped');
      }
      if (packet.qos > 0) callback(null);
    });
    if (packet.qos === 0) callback(null);
  }

  #maySubscribe(client: Client, filter: string): boolean {
    const who = this.#admitted.get(client) ?? nobody;
    if (filter.startsWith('$share/') || topicFilterProblem(filter) !== undefined) return false;
    if (Object.keys(subscriptionsOf(client)).length >= this.#deps.maxSubscriptions) return false;
    // who is connected is not for everybody
    return filter.startsWith('$SYS/broker/') || this.#deps.rules.allows(who, 'subscribe', filter);
  }
}

function refusal(text: string, returnCode: number): AuthenticateError {
  return Object.assign(new Error(text), { returnCode }) as AuthenticateError;
}

function messageIdOf(packet: object): number | undefined {
  return 'messageId' in packet && typeof packet.messageId === 'number' ? packet.messageId : undefined;
}

const ignored = (): void => undefined;

interface ClientInside {
  readonly connackSent: boolean;
  /** Packets that are being handled; it reads on when `_nextBatch` was called for each. */
  _parsingBatch: number;
  _nextBatch(): void;
  waitForDrain(done: () => void): void;
  readonly broker: Aedes;
}

function connackSent(client: Client): boolean {
  return (client as unknown as ClientInside).connackSent;
}
