import type { ClockQuality, QoS } from './message.ts';

/** The way a client's connection takes. */
export type Network = 'tcp' | 'ssl' | 'ws' | 'wss' | 'coap' | 'coaps';

/** Why a client's connection ended, or did not come to be (`not_authorized`). */
export type EndReason =
  | 'normal'
  | 'keepalive_timeout'
  | 'taken_over'
  | 'kicked'
  | 'socket_error'
  | 'protocol_error'
  | 'not_authorized'
  | 'server_shutdown';

/** What a client has set to be published when it vanishes, without the payload. */
export interface WillFacts {
  readonly topic: string;
  readonly qos: QoS;
  readonly retain: boolean;
}

/** What is known of a client's connection. */
export interface ConnectionFacts {
  /** Id of the connection, unique for the life of the gateway's data; 0 where it did not come to one. */
  readonly connection: bigint;
  /** Full client id. */
  readonly clientId: string;
  /** Empty for an anonymous client. */
  readonly username: string;
  readonly network: Network;
  /** Peer address for people, e.g. `192.0.2.7:40000`. */
  readonly address: string;
  /** MQTT protocol level (3 = 3.1, 4 = 3.1.1); 1 for CoAP. */
  readonly version: number;
  /** Seconds; for CoAP the heartbeat interval. */
  readonly keepalive: number;
  /** Whether nothing of it outlives the connection. */
  readonly clean: boolean;
  readonly will: WillFacts | undefined;
}

/** A client came, or was refused (`reason` `not_authorized`, connection 0). */
export interface Connected extends ConnectionFacts {
  readonly kind: 'connected';
  readonly reason: 'normal' | 'not_authorized';
}

/** A client is gone. */
export interface Disconnected extends ConnectionFacts {
  readonly kind: 'disconnected';
  readonly reason: EndReason;
}

/** A message was given to one client. */
export interface Delivered {
  readonly kind: 'delivered';
  readonly message: bigint;
  /** Full client id of the receiver. */
  readonly clientId: string;
  /** That of the delivery. */
  readonly qos: QoS;
}

/** What happens beside the messages and is recorded too. */
export type GatewayEvent = Connected | Disconnected | Delivered;

/**
 * Where a run of events lies among the messages: behind those with lower ids than `position`, and at `offset` in the bytes
 * of all events ever written. Both rise.
 */
export interface EventPlace {
  readonly position: bigint;
  readonly offset: number;
}

/** An event that the log has taken. */
export type StoredEvent<Event extends GatewayEvent = GatewayEvent> = Event & {
  /** The run of events that it is in, and its index in it. */
  readonly place: EventPlace;
  readonly index: number;
  /** Wall time, milliseconds since 1970. */
  readonly time: number;
  readonly timeQuality: ClockQuality;
};
