import { Socket } from 'node:net';
import { type IClientOptions, type IConnackPacket, type MqttClient, connect as mqttConnect, type Packet } from 'mqtt';
import { type Clock, reasonOf, type Timer } from '../base/index.ts';
import type { QoS } from '../domain/index.ts';
import type { Acknowledged, ConnectLink, Link, LinkEnd, LinkEvents, LinkLimits, LinkTarget, Outgoing } from './link.ts';
import { PacketIds } from './packet-ids.ts';
import { encodePublish } from './publish-encoder.ts';
import type { Subscription } from './topic-map.ts';

/** Seconds for which an MQTT 5 broker keeps our session, and downlinks in it, while we are away. */
const sessionExpiry = 7 * 86_400;
const farewellTimeout = 1_000;
const unsupportedProtocol: ReadonlySet<number | undefined> = new Set([0x01, 0x84]);
const closedCodes: ReadonlySet<string | number | undefined> = new Set(['ECONNRESET', 'EPIPE', undefined]);
/** Reason codes of a DISCONNECT that may be about what the broker was sent (MQTT 5 §3.14.2.1), not about itself. */
const blamingCodes: ReadonlySet<number | undefined> = new Set([
  0x80, 0x81, 0x82, 0x83, 0x87, 0x90, 0x94, 0x95, 0x99, 0x9a, 0x9b,
]);
const noLimits: LinkLimits = {
  receiveMaximum: 65_535,
  maximumPacketSize: Number.POSITIVE_INFINITY,
  maximumQos: 2,
  retain: true,
};
/** Given to mqtt.js so that it goes on reading without acknowledging: see `#receive`. */
const acknowledgedLater = new Error('acknowledged later');

/** Opens links with mqtt.js: one client object per link, with its own reconnecting and queueing switched off. */
export function mqttConnector(clock: Clock): ConnectLink {
  return (target, events) => new MqttLink(target, events, clock);
}

class MqttLink implements Link {
  readonly #target: LinkTarget;
  readonly #events: LinkEvents;
  readonly #clock: Clock;
  #client: MqttClient | undefined;
  #timer: Timer | undefined;
  #reason: string | undefined;
  #code: string | number | undefined;
  /** Whether the transport stood, so that CONNECT can have reached the broker. */
  #transport = false;
  #answered = false;
  /** QoS 2 exchanges of an earlier connection are being released. */
  #releasing = false;
  #over = false;
  #corked = false;
  readonly #ids: PacketIds;
  readonly #inFlight = new Map<number, { readonly qos: QoS; readonly done: Acknowledged }>();
  /** QoS 0 messages that wait for the socket to take more. */
  readonly #written: Acknowledged[] = [];

  constructor(target: LinkTarget, events: LinkEvents, clock: Clock) {
    this.#target = target;
    this.#events = events;
    this.#clock = clock;
    this.#ids = new PacketIds(target.packetIds);
    try {
      this.#open();
    } catch (thrown) {
      // A certificate that does not parse, for one, is thrown by node:tls.
      this.#reason = reasonOf(thrown);
      this.#code = 'thrown';
      clock.soon('upstream link', () => this.#finish());
    }
  }

  #open(): void {
    const client = mqttConnect(optionsOf(this.#target, this.#ids));
    this.#client = client;
    client.on('error', (error: Error & { readonly code?: number | string }) => {
      this.#fail(reasonOf(error), error.code);
      // mqtt.js reports a malformed packet and goes on; a link with an error is of no use.
      client.end(true);
    });
    client.on('disconnect', (packet) => {
      const text = packet.properties?.reasonString;
      const code = packet.reasonCode ?? 0;
      this.#fail(
        `disconnected by the broker, reason 0x${code.toString(16)}${text === undefined ? '' : ` ${text}`}`,
        code,
      );
    });
    client.once('connect', (connack) => this.#connected(client, connack));
    client.once('close', () => this.#finish());
    client.once('end', () => this.#finish());
    client.once('packetsend', (packet) => {
      if (packet.cmd === 'connect' && this.#target.dialect === '3.1.1-bridge')
        Object.assign(packet, { bridgeMode: true });
    });
    client.on('packetreceive', (packet) => this.#acknowledged(client, packet));
    client.handleMessage = (packet, next) => this.#receive(client, packet, next);
    client.connect();
    const scheme = schemeOf(this.#target.url);
    if (scheme === 'ws' || scheme === 'wss') this.#transport = true;
    const { stream } = client;
    stream.on('drain', () => this.#drained());
    // what is written in one turn leaves in one piece: it does not wait for the broker to acknowledge the piece before
    if (stream instanceof Socket) stream.setNoDelay(true);
    stream.once(scheme === 'mqtts' ? 'secureConnect' : 'connect', () => {
      this.#transport = true;
    });
  }

  #connected(client: MqttClient, connack: IConnackPacket): void {
    this.#answered = true;
    const five = this.#target.dialect === '5';
    const limits = five ? limitsOf(connack) : noLimits;
    const up = () =>
      this.#events.up({ protocol: five ? '5' : '3.1.1', sessionPresent: connack.sessionPresent, limits });
    if (connack.sessionPresent && this.#target.releaseQos2) this.#releaseQos2(client, up);
    else up();
  }

  /**
   * Releases every packet identifier that a QoS 2 exchange of an earlier connection may have left taken; a broker would
   * take the next message under it for a duplicate and drop it. Unknown ones are answered all the same (MQTT 5 §3.7.2.1).
   */
  #releaseQos2(client: MqttClient, then: () => void): void {
    this.#releasing = true;
    const count = this.#target.packetIds;
    const packets = Buffer.alloc(4 * count);
    for (let id = 1; id <= count; id++) packets.writeUInt32BE(0x62020000 + id, 4 * (id - 1));
    let missing = count;
    const listener = (packet: { readonly cmd: string }) => {
      if (packet.cmd !== 'pubcomp') return;
      missing -= 1;
      if (missing > 0) return;
      client.off('packetreceive', listener);
      this.#timer?.cancel();
      // The last PUBCOMP is still being handled: identifiers are free after it.
      this.#clock.soon('upstream link', () => {
        this.#releasing = false;
        if (!this.#over) then();
      });
    };
    client.on('packetreceive', listener);
    this.#timer = this.#clock.after('release of QoS 2', this.#target.connectTimeout, () =>
      this.abort('the broker does not answer PUBREL'),
    );
    client.stream.write(packets);
  }

  /**
   * Writes the packet itself: `client.publish` copies each message, keeps it in a store to replay it, and writes it in
   * pieces, at twice the cost. mqtt.js ignores acknowledgements of identifiers it did not send under.
   */
  publish(packet: Outgoing, done: Acknowledged): void {
    const client = this.#client;
    if (this.#over || client === undefined || !client.connected) return;
    const { qos } = packet;
    const id = qos === 0 ? 0 : this.#ids.allocate();
    if (id === null) {
      this.abort('out of packet identifiers');
      return;
    }
    if (qos > 0) this.#inFlight.set(id, { qos, done });
    const flowing = this.#write(client, encodePublish(packet, id, this.#target.dialect === '5'));
    if (qos > 0) return;
    if (flowing) done(0);
    else this.#written.push(done);
  }

  /** What is written in one turn leaves together. False where the socket is full. */
  #write(client: MqttClient, bytes: Buffer): boolean {
    const { stream } = client;
    if (!this.#corked) {
      this.#corked = true;
      stream.cork();
      process.nextTick(() => {
        this.#corked = false;
        stream.uncork();
      });
    }
    return stream.write(bytes);
  }

  #drained(): void {
    if (this.#over) return;
    for (const done of this.#written.splice(0)) done(0);
  }

  #acknowledged(client: MqttClient, packet: Packet): void {
    if (packet.cmd !== 'puback' && packet.cmd !== 'pubrec' && packet.cmd !== 'pubcomp') return;
    const id = packet.messageId ?? 0;
    const pending = this.#inFlight.get(id);
    if (pending === undefined || this.#over) return;
    const code = packet.reasonCode ?? 0;
    const expected = pending.qos === 1 ? packet.cmd === 'puback' : packet.cmd !== 'puback';
    if (!expected) {
      this.abort(`${packet.cmd} for a message of QoS ${pending.qos}`);
      return;
    }
    if (packet.cmd === 'pubrec' && code < 0x80) {
      this.#write(client, Buffer.of(0x62, 2, id >> 8, id & 0xff));
      return;
    }
    this.#inFlight.delete(id);
    this.#ids.deallocate(id);
    pending.done(code);
  }

  subscribe(filters: readonly Subscription[], done: (granted: readonly number[]) => void): void {
    if (this.#over || this.#client === undefined) return;
    // Retained messages come once, with the first subscription of a session (rh 1); our own never (nl, MQTT 5 §3.8.3.1).
    const map = Object.fromEntries(filters.map(({ filter, qos }) => [filter, { qos, nl: true, rap: true, rh: 1 }]));
    this.#client.subscribe(map, (_error, _granted, packet) => {
      if (!this.#over && packet !== undefined) done(packet.granted as number[]);
    });
  }

  disconnect(): void {
    if (this.#over || this.#client === undefined) return;
    this.#reason ??= 'disconnected';
    // Not `client.end()`: that waits for acknowledgements, for ever if need be.
    this.#client.stream.end(Buffer.of(0xe0, 0));
    this.#timer?.cancel();
    this.#timer = this.#clock.after('upstream farewell', farewellTimeout, () => this.#client?.end(true));
  }

  abort(reason: string): void {
    if (this.#over) return;
    this.#fail(reason, 'aborted');
    this.#client?.end(true);
  }

  /**
   * Hands a message on and lets mqtt.js read further at once: acknowledgements of what we sent must not wait behind a
   * downlink that the log cannot take. Its own PUBACK is suppressed by the error; ours leaves when the message is safe.
   */
  #receive(
    client: MqttClient,
    packet: Parameters<MqttClient['handleMessage']>[0],
    next: Parameters<MqttClient['handleMessage']>[1],
  ): void {
    const { qos, messageId } = packet;
    this.#events.received(
      {
        topic: packet.topic,
        payload: typeof packet.payload === 'string' ? Buffer.from(packet.payload) : packet.payload,
        qos,
        retain: packet.retain,
        expiry: packet.properties?.messageExpiryInterval ?? 0,
      },
      () => {
        if (qos === 0 || messageId === undefined || this.#over || !client.connected) return;
        this.#write(client, Buffer.of(qos === 1 ? 0x40 : 0x70, 2, messageId >> 8, messageId & 0xff));
      },
    );
    if (qos === 0) next();
    else next(acknowledgedLater);
  }

  #fail(reason: string, code: number | string | undefined): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#code = code;
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#timer?.cancel();
    this.#events.down(this.#end());
  }

  #end(): LinkEnd {
    const code = typeof this.#code === 'number' ? this.#code : undefined;
    const reason = this.#reason ?? 'connection closed by the broker';
    if (this.#answered) {
      const silently = this.#reason === undefined || (this.#code !== undefined && closedCodes.has(this.#code));
      const closed = silently || blamingCodes.has(code);
      return { reason, code, closed, releasing: this.#releasing, dialect: undefined };
    }
    if (unsupportedProtocol.has(code)) return { reason, code, dialect: 'refused' };
    const closed = this.#transport && closedCodes.has(this.#code);
    return { reason, code, dialect: closed && this.#reason !== 'connack timeout' ? 'closed' : undefined };
  }
}

function schemeOf(url: string): string {
  return url.slice(0, url.indexOf(':')).toLowerCase();
}

function optionsOf(target: LinkTarget, ids: PacketIds): IClientOptions {
  const url = new URL(target.url);
  const scheme = schemeOf(target.url);
  const web = scheme === 'ws' || scheme === 'wss';
  const secure = scheme === 'mqtts' || scheme === 'wss';
  const host = web ? url.hostname : url.hostname.replace(/^\[|\]$/g, '');
  const tls = {
    rejectUnauthorized: target.rejectUnauthorized,
    ...(target.ca === undefined ? {} : { ca: Buffer.from(target.ca) }),
    ...(target.cert === undefined ? {} : { cert: Buffer.from(target.cert) }),
    ...(target.key === undefined ? {} : { key: Buffer.from(target.key) }),
  };
  const five = target.dialect === '5';
  return {
    protocol: scheme as 'mqtt' | 'mqtts' | 'ws' | 'wss',
    host,
    hostname: host,
    ...(url.port === '' ? {} : { port: Number(url.port) }),
    ...(web ? { path: `${url.pathname}${url.search}` } : {}),
    ...(secure ? tls : {}),
    ...(web && secure ? { wsOptions: tls } : {}),
    clientId: target.clientId,
    ...(target.username === undefined ? {} : { username: target.username }),
    ...(target.password === undefined ? {} : { password: target.password }),
    protocolId: 'MQTT',
    protocolVersion: five ? 5 : 4,
    clean: false,
    keepalive: Math.ceil(target.keepalive / 1_000),
    // A timer less per acknowledgement; a PINGREQ goes out each interval whatever else does.
    reschedulePings: false,
    timerVariant: 'native',
    connectTimeout: target.connectTimeout,
    manualConnect: true,
    reconnectPeriod: 0,
    queueQoSZero: false,
    resubscribe: false,
    messageIdProvider: ids as NonNullable<IClientOptions['messageIdProvider']>,
    will: {
      topic: target.will.topic,
      payload: Buffer.from(target.will.payload),
      qos: 1,
      retain: target.will.retain,
    },
    ...(five
      ? {
          properties: {
            sessionExpiryInterval: sessionExpiry,
            receiveMaximum: target.receiveMaximum,
            maximumPacketSize: target.maximumPacketSize,
          },
        }
      : {}),
  };
}

function limitsOf(connack: IConnackPacket): LinkLimits {
  const properties = connack.properties;
  return {
    receiveMaximum: properties?.receiveMaximum ?? noLimits.receiveMaximum,
    maximumPacketSize: properties?.maximumPacketSize ?? noLimits.maximumPacketSize,
    maximumQos: (properties?.maximumQoS ?? 2) as QoS,
    retain: properties?.retainAvailable !== false,
  };
}
