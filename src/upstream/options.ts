import type { BackoffOptions } from '../base/index.ts';
import type { QoS } from '../domain/index.ts';

/** One line of `topics`, with the meaning that a bridge rule of Mosquitto has. */
export interface UpstreamRule {
  /** Topic filter without the prefixes. */
  readonly topic: string;
  readonly direction: 'out' | 'in' | 'both';
  /** Highest QoS at which a message of this rule travels. */
  readonly qos: QoS;
  /** Stands before the topic on this side, e.g. `plant/`; may be empty. */
  readonly localPrefix: string;
  /** Stands before the topic at the broker; may be empty. */
  readonly remotePrefix: string;
  /** How long a message may wait to be sent, milliseconds; default: as the queue has it. */
  readonly maxAge?: number;
  /** `latest`: of messages that wait only the newest of each topic is sent. Default `all`. */
  readonly keep?: 'all' | 'latest';
}

/** How a backlog is sent: what was logged before the link came up. */
export interface ReplayOptions {
  /** Messages per second; 0 = as fast as it goes. */
  readonly rate: number;
  /** Bytes per second, of topics and payloads; 0 = as fast as it goes. */
  readonly bytesRate: number;
  /** `fifo`: in the order of the log. `live_first`: what comes in meanwhile overtakes it. */
  readonly order: 'fifo' | 'live_first';
  /** Share of the window, in percent, that the backlog leaves to what comes in meanwhile (`live_first`). */
  readonly freshShare: number;
  /** It begins after a random time up to this, milliseconds. */
  readonly startDelay: number;
}

/** One `[[upstream]]`, as the configuration has checked it. Times in milliseconds, sizes in bytes. */
export interface UpstreamOptions {
  readonly name: string;
  /** `mqtt:`, `mqtts:`, `ws:`, `wss:`; tried in order, the first one preferred. */
  readonly urls: readonly string[];
  readonly clientId: string;
  readonly username?: string;
  readonly password?: string;
  /** Read at each attempt, so that a rotated password is picked up; one trailing line end is not part of it. */
  readonly passwordFile?: string;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  readonly rejectUnauthorized: boolean;
  readonly keepalive: number;
  readonly connectTimeout?: number;
  /** `auto`: MQTT 5, and 3.1.1 where the broker refuses that. */
  readonly protocol: 'auto' | '5' | '3.1.1';
  readonly rules: readonly UpstreamRule[];
  /** Messages sent and not yet acknowledged, at most. */
  readonly window: number;
  /** A message that waits longer than this for its acknowledgement ends the connection. */
  readonly ackTimeout: number;
  readonly backoff: BackoffOptions;
  readonly queue: {
    readonly maxBytes: number;
    readonly maxMessages?: number;
    readonly maxAge?: number;
    readonly overflow: 'drop_oldest' | 'reject';
    /** Whether QoS 0 messages wait while there is no link. */
    readonly qos0: boolean;
  };
  readonly replay: ReplayOptions;
  /** Default `holdfast/<clientId>/status`. */
  readonly statusTopic?: string;
  /** Where an upstream that has no cursor yet begins: with what is logged from now on, or with all that is held. */
  readonly startFrom?: 'newest' | 'oldest';
  /** How long `stop` waits for the acknowledgements of what is in flight, and as long again for the farewell. */
  readonly stopGrace?: number;
}

/** What an upstream says of itself. */
export interface UpstreamStatus {
  readonly name: string;
  /** The broker connected to or tried last, without user information. */
  readonly url: string;
  readonly state: 'connecting' | 'connected' | 'waiting' | 'stopped';
  /** Of the link that is up; undefined without one. */
  readonly protocol: '5' | '3.1.1' | undefined;
  /** Messages not yet acknowledged; an upper bound where the log cannot count them. */
  readonly queuedMessages: number;
  readonly queuedBytes: number | undefined;
  /** Milliseconds since the oldest of them was accepted. */
  readonly oldestAge: number | undefined;
  readonly inFlight: number;
  /** Why the last attempt or link ended; undefined once a link is up again. */
  readonly lastError: string | undefined;
}
