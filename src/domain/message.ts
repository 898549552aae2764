/** MQTT quality of service. */
export type QoS = 0 | 1 | 2;

/** The way a message came in. */
export type Origin = 'coap' | 'mqtt' | 'rest' | 'upstream' | 'gateway';

/** How far the wall time of a record can be trusted: taken after or before the clock was synchronised. */
export type ClockQuality = 'synced' | 'unsynced';

/** A message as a publisher hands it in. */
export interface Message {
  /** A valid topic name (see `topicNameProblem`). */
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  /** Seconds after acceptance for which it is worth delivering; 0 = for ever. */
  readonly expiry: number;
  readonly origin: Origin;
  /** The upstream that it came from; empty unless `origin` is `upstream`. */
  readonly upstream: string;
  /** Full client id `deviceID@AppID` of the publisher; empty where it gave none. */
  readonly clientId: string;
  /** User name of the publisher; empty where it is anonymous. */
  readonly username: string;
  /** Id of the publisher's connection; 0 where it has none. */
  readonly connection: bigint;
}

/** A message that the log has taken. */
export interface StoredMessage extends Message {
  /** Boot number (24 bits) and position in that boot (40 bits). */
  readonly id: bigint;
  /** Wall time of acceptance, milliseconds since 1970. */
  readonly time: number;
  readonly timeQuality: ClockQuality;
  /** Monotonic time of acceptance in its boot, milliseconds. Comparable within one boot only. */
  readonly monotonic: number;
}

/** A message with what the log says of it, and a copy of its payload where one is given. Field by field: to spread it and add to that costs V8 several microseconds. */
export function storedMessage(
  message: Message,
  id: bigint,
  time: number,
  timeQuality: ClockQuality,
  monotonic: number,
  payload: Uint8Array = message.payload,
): StoredMessage {
  return {
    topic: message.topic,
    payload,
    qos: message.qos,
    retain: message.retain,
    expiry: message.expiry,
    origin: message.origin,
    upstream: message.upstream,
    clientId: message.clientId,
    username: message.username,
    connection: message.connection,
    id,
    time,
    timeQuality,
    monotonic,
  };
}
