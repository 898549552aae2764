import type { HoldfastError } from '../base/index.ts';
import type { QoS } from '../domain/index.ts';

/** Which gateway, and who asks. */
export interface GatewayTarget {
  /** `mqtt`, `mqtts`, `ws`, `wss` or `coap`; no user information. */
  readonly url: string;
  readonly clientId: string;
  readonly username?: string;
  readonly password?: string;
  /** Certificates to trust, PEM; default: those of Node.js. */
  readonly ca?: Buffer;
  /** PEM: the server has to show the first certificate in it, whatever its name; the others vouch for it. */
  readonly pinned?: Buffer;
  /** PEM, shown to a server that asks. */
  readonly certificate?: { readonly cert: Buffer; readonly key: Buffer };
  /** Undefined: to be found out. */
  readonly coapMode?: 'connection' | 'connectionless';
  /** Milliseconds in which a CoAP server expects a sign of life. */
  readonly heartbeat: number;
  /** Whether it is known to speak MQTT 3.1.1 and nothing later. */
  readonly mqtt311: boolean;
}

export interface Publication {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
}

/** A message that came; what the protocol does not tell is not there. */
export interface Received {
  /** Over CoAP only where the filter has no wildcard. */
  readonly topic?: string;
  /** Over CoAP. */
  readonly filter?: string;
  readonly payload: Buffer;
  readonly qos?: QoS;
  readonly retain?: boolean;
  /** MQTT 5. */
  readonly userProperties?: Readonly<Record<string, string | readonly string[]>>;
  readonly contentType?: string;
  readonly responseTopic?: string;
  readonly correlationData?: Buffer;
  /** Seconds. */
  readonly messageExpiry?: number;
}

/** A filter that was not granted. */
export interface Refused {
  readonly filter: string;
  readonly reason: string;
}

export interface GatewayEvents {
  /** A message; acknowledged once what this returns is fulfilled. */
  received(message: Received): Promise<void> | undefined;
  /** A message came and could not be had. */
  missed(reason: HoldfastError): void;
  /** The connection is over, other than by `close`; told once. */
  lost(reason: HoldfastError): void;
}

/** One connection to a gateway. */
export interface GatewayClient {
  /** @throws HoldfastError: `access_denied`, `payload_too_large`, `unavailable` and others; the text says what was refused and why. */
  publish(message: Publication): Promise<void>;
  /**
   * The filters that were refused.
   * @throws HoldfastError `unavailable`.
   */
  subscribe(filters: readonly string[], qos: QoS): Promise<readonly Refused[]>;
  /** Says goodbye, within two seconds. */
  close(): Promise<void>;
}
