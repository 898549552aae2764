import type { QoS } from '../domain/index.ts';
import type { Credentials } from './credentials.ts';
import type { Dialect } from './dialects.ts';
import type { LinkTarget } from './link.ts';
import type { UpstreamOptions } from './options.ts';

/** Downlinks that a broker may have unacknowledged towards us (MQTT 5 Receive Maximum). */
const downlinkWindow = 128;
const maxPacketBytes = 1_024 * 1_024;
const defaultConnectTimeout = 15_000;
/** Packet identifiers beside the window: SUBSCRIBE and status. */
const spareIds = 16;

/** All that one attempt to connect needs. `maximumQos`: what the broker is known to bear. */
export function targetOf(
  options: UpstreamOptions,
  url: string,
  dialect: Dialect,
  will: LinkTarget['will'],
  credentials: Credentials,
  maximumQos: QoS,
): LinkTarget {
  const { clientId, rejectUnauthorized, keepalive, connectTimeout, window, rules } = options;
  return {
    ...credentials,
    url,
    dialect,
    clientId,
    rejectUnauthorized,
    keepalive,
    connectTimeout: connectTimeout ?? defaultConnectTimeout,
    will,
    packetIds: window + spareIds,
    releaseQos2: maximumQos === 2 && rules.some((rule) => rule.direction !== 'in' && rule.qos === 2),
    receiveMaximum: downlinkWindow,
    maximumPacketSize: maxPacketBytes,
  };
}
