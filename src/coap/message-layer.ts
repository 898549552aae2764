/** What the resources see of the message layer, and it of them. */

/** Where a client is: one per transport, address and port; over a secure transport, one per session. */
export interface Endpoint {
  /** Unique among all transports, e.g. `coap://127.0.0.1:5683|192.0.2.7:49152` or `coaps://127.0.0.1:5684|session 7`. */
  readonly key: string;
  /** An IP literal without brackets; a v4-mapped IPv6 address appears as the IPv4 one. */
  readonly address: string;
  readonly port: number;
  /** Whether the transport authenticates and encrypts. */
  readonly secure: boolean;
  /** The name under which it proved itself to a secure transport: a user's. Undefined over any other. */
  readonly identity: string | undefined;
  /** Where it can be found again after a restart; undefined where it will be another then: over a secure transport. */
  readonly place: Place | undefined;
}

/** A whole request: deduplicated, reassembled, its critical options understood. */
export interface CoapRequest {
  readonly endpoint: Endpoint;
  readonly confirmable: boolean;
  /** 1 to 31: 1 GET, 2 POST, 3 PUT, 4 DELETE, 5 FETCH; others as they came. */
  readonly method: number;
  /** 0 to 8 bytes. A view of the datagram: copy it to keep it. */
  readonly token: Buffer;
  /** One entry per Uri-Path option, UTF-8 decoded. */
  readonly path: readonly string[];
  /** One entry per Uri-Query option, UTF-8 decoded. */
  readonly query: readonly string[];
  /** Some Uri-Path or Uri-Query option was no valid UTF-8; its entry has U+FFFD in place of it. */
  readonly badText: boolean;
  /** The Observe option's value, RFC 7641 §2: 0 registers, 1 cancels. */
  readonly observe: number | undefined;
  /** The whole body, reassembled. */
  readonly payload: Buffer;
  readonly contentFormat: number | undefined;
  readonly accept: number | undefined;
  /** The ETag options, RFC 7252 §5.10.6.2. */
  readonly etags: readonly Buffer[];
}

/** An answer. Observe and the block options are the message layer's. */
export interface CoapResponse {
  readonly code: number;
  /** Text is sent as UTF-8. Bytes must not change afterwards. */
  readonly payload?: Uint8Array | string | undefined;
  readonly contentFormat?: number | undefined;
  /** Seconds. */
  readonly maxAge?: number | undefined;
  /** 1 to 8 bytes. */
  readonly etag?: Uint8Array | undefined;
}

/** Answers a request: once, at once or later. Later calls, and calls after the server stopped, do nothing. */
export type Respond = (response: CoapResponse) => void;

/** The application. What `handle` throws is logged and answered with 5.00. */
export interface RequestHandler {
  handle(request: CoapRequest, respond: Respond): void;
}

/**
 * Why an observation ended; told once. `cancelled`: by `end`, or by a response that is no success. `gone`: the session of a
 * secure transport ended.
 */
export type ObservationEnd = 'reset' | 'timeout' | 'replaced' | 'cancelled' | 'gone' | 'stopped';

/** `failed`: reset, not acknowledged in time, or the observation ended. `dropped`: never sent, a queue was full. */
export type NotificationOutcome = 'sent' | 'acknowledged' | 'dropped' | 'failed';

export interface ObserveOptions {
  /** Whether notifications are CON. */
  readonly confirmable: boolean;
  /** Told once, whatever the cause; never from within `observe` for the observation that it makes. */
  readonly onEnd: (reason: ObservationEnd) => void;
}

export interface NotifyOptions {
  readonly contentFormat?: number | undefined;
  /** Seconds. */
  readonly maxAge?: number | undefined;
  readonly onSettled?: ((outcome: NotificationOutcome) => void) | undefined;
}

/** Where an endpoint of a transport without sessions is. */
export interface Place {
  /** The transport's. */
  readonly url: string;
  /** An IP literal. */
  readonly address: string;
  readonly port: number;
}

/** What it takes to go on with an observation after a restart. */
export interface KeptObservation {
  readonly token: Uint8Array;
  /** Identifies the resource, for the blocks of its notifications. */
  readonly resource: string;
  /** The client's block size, RFC 7959 §2.2. */
  readonly szx: number | undefined;
  /** The last sequence number given out, or an earlier one. */
  readonly sequence: number;
}

/** A client's observation, RFC 7641: one per endpoint and token. After its end every call does nothing. */
export interface Observation {
  readonly endpoint: Endpoint;
  readonly token: Uint8Array;
  /** As it is now. */
  readonly kept: KeptObservation;
  /** Sends 2.05 with `payload`, in the order of the calls; those before the registering response wait for it. */
  notify(payload: Uint8Array, options?: NotifyOptions): void;
  /** The same client at a new address: what waits or is unacknowledged is sent there, in order. */
  move(endpoint: Endpoint, token: Uint8Array, confirmable?: boolean): void;
  /** Removes it, with what waits; `final` is sent without an Observe option (RFC 7641 §4.2). */
  end(final?: CoapResponse): void;
}
