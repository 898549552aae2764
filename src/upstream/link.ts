import type { QoS } from '../domain/index.ts';
import type { Dialect } from './dialects.ts';
import type { Subscription } from './topic-map.ts';

/** What the broker can take, from its CONNACK. */
export interface LinkLimits {
  /** Messages of QoS 1 and 2 that it takes unacknowledged. */
  readonly receiveMaximum: number;
  /** Bytes of a whole packet; Infinity where it names no limit. */
  readonly maximumPacketSize: number;
  readonly maximumQos: QoS;
  readonly retain: boolean;
}

export interface LinkSession {
  readonly protocol: '5' | '3.1.1';
  /** Whether the broker kept the session of an earlier connection. */
  readonly sessionPresent: boolean;
  readonly limits: LinkLimits;
}

/** User properties and Message Expiry Interval (seconds) of an MQTT 5 PUBLISH. */
export interface PacketProperties {
  readonly userProperties: Readonly<Record<string, string>>;
  readonly messageExpiryInterval?: number;
}

/** A PUBLISH as it goes to the broker. */
export interface Outgoing {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly properties: PacketProperties | undefined;
}

/** A PUBLISH as it came from the broker. */
export interface Incoming {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  /** Message Expiry Interval in seconds; 0 = none. */
  readonly expiry: number;
}

/** Why a link is over. */
export interface LinkEnd {
  /** For a log line; never holds a secret. */
  readonly reason: string;
  /** Whether the broker would not have this protocol: it said so, or closed without any answer to CONNECT. */
  readonly dialect: 'refused' | 'closed' | undefined;
  /** Whether the broker closed it, once it was up, for what it was sent or for a reason that it did not say. */
  readonly closed?: boolean;
  /** Whether it ended while QoS 2 exchanges of an earlier connection were being released. */
  readonly releasing?: boolean;
  /** The reason code of the CONNACK or DISCONNECT, where there was one. */
  readonly code: number | undefined;
}

/** Reason codes below 0x80 are success (MQTT 5 §2.4); 3.1.1 has 0 alone. */
export type Acknowledged = (reasonCode: number) => void;

export interface LinkEvents {
  /** The broker accepted the connection. */
  up(session: LinkSession): void;
  /** The link is over; called once, and nothing after it. */
  down(end: LinkEnd): void;
  /** A message came, `up` or not yet: a session is resumed before the link is. Its acknowledgement leaves when `acknowledge` is called; must not throw. */
  received(message: Incoming, acknowledge: () => void): void;
}

/** One connection to a broker, from CONNECT to its end. It is not opened twice. */
export interface Link {
  /** `done` is called with the acknowledgement (QoS 0: once written), and never after the link is down. */
  publish(packet: Outgoing, done: Acknowledged): void;
  /** Reason codes in the order of `filters`; those from 0x80 on are refusals. */
  subscribe(filters: readonly Subscription[], done: (granted: readonly number[]) => void): void;
  /** Ends the connection with a DISCONNECT: the broker drops the will and keeps the session. */
  disconnect(): void;
  /** Ends the connection at once, for a reason that `down` reports. */
  abort(reason: string): void;
}

/** Everything that a connection needs, read anew for each attempt. Times in milliseconds. */
export interface LinkTarget {
  readonly url: string;
  readonly dialect: Dialect;
  readonly clientId: string;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly ca: Uint8Array | undefined;
  readonly cert: Uint8Array | undefined;
  readonly key: Uint8Array | undefined;
  readonly rejectUnauthorized: boolean;
  readonly keepalive: number;
  readonly connectTimeout: number;
  readonly will: { readonly topic: string; readonly payload: Uint8Array; readonly retain: boolean };
  /** MQTT 5: messages of QoS 1 that the broker may have unacknowledged towards us, and bytes of its largest packet. */
  readonly receiveMaximum: number;
  readonly maximumPacketSize: number;
  /** Packet identifiers in use at once, at most. */
  readonly packetIds: number;
  /** Whether QoS 2 exchanges of an earlier connection may be open at the broker and must be released first. */
  readonly releaseQos2: boolean;
}

/** Opens a connection. Never throws: what goes wrong comes as `down`. */
export type ConnectLink = (target: LinkTarget, events: LinkEvents) => Link;
