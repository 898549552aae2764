import { formatMessageId, type QoS, type StoredMessage } from '../domain/index.ts';
import type { LinkLimits, Outgoing, PacketProperties } from './link.ts';
import type { Mapped } from './topic-map.ts';

/** Seconds that a message is still worth: 0 = for ever, undefined = it has expired. `age` in milliseconds. */
export function remainingExpiry(expiry: number, age: number | undefined): number | undefined {
  if (expiry === 0) return 0;
  if (age === undefined) return expiry;
  const left = expiry - age / 1_000;
  return left <= 0 ? undefined : Math.min(expiry, Math.max(1, Math.ceil(left)));
}

/** The MQTT 5 properties by which the cloud can tell duplicates, origin and time. `expiry` in seconds, 0 = none. */
export function propertiesOf(message: StoredMessage, gatewayId: string, expiry: number): PacketProperties {
  const userProperties: Record<string, string> = {
    'message-id': `${gatewayId}:${formatMessageId(message.id)}`,
    ts: String(Math.round(message.time)),
    'ts-quality': message.timeQuality,
  };
  if (message.clientId !== '') userProperties['client-id'] = message.clientId;
  return expiry === 0 ? { userProperties } : { userProperties, messageExpiryInterval: expiry };
}

/** The PUBLISH for `message`, within what the broker can take. */
export function packetOf(
  message: StoredMessage,
  mapped: Mapped,
  limits: LinkLimits,
  properties: PacketProperties | undefined,
): Outgoing {
  return {
    topic: mapped.topic,
    payload: message.payload,
    qos: Math.min(message.qos, mapped.qos, limits.maximumQos) as QoS,
    retain: message.retain && limits.retain,
    properties,
  };
}
