import type { ConnectionFacts, EndReason } from '../domain/index.ts';

export type Protocol = 'coap' | 'mqtt';

/** A client that connects. */
export interface Arrival extends Omit<ConnectionFacts, 'connection'> {
  readonly protocol: Protocol;
  /** Milliseconds without a sign of life after which it is gone; 0 = its own protocol sees to that. */
  readonly timeout: number;
  /** Called once when the connection ends for another reason than the edge's own `close`. */
  readonly onEnd: (reason: EndReason, connection: Connection) => void;
}

/** A client's connection. */
export interface Connection extends Arrival, ConnectionFacts {
  /** Wall time, milliseconds. */
  readonly connectedAt: number;
  /** 128 random bits, base64url: proves later requests. Empty where it is an earlier run's and has not been shown yet. */
  token: string;
  /** Of a token that is an earlier run's. */
  readonly digest: string | undefined;
  /** When it last gave an authenticated sign of life: whole milliseconds in which clients could be heard. */
  lastSeen: number;
}

/** What most connections of a protocol have in common. */
export type Manner = Pick<Connection, 'protocol' | 'network' | 'version' | 'keepalive' | 'clean' | 'will' | 'timeout'>;

/** There are thousands of them: each has of its own only what is no other's. */
export class OpenConnection implements Connection {
  readonly connection: bigint;
  readonly clientId: string;
  readonly username: string;
  readonly address: string;
  readonly onEnd: Arrival['onEnd'];
  readonly connectedAt: number;
  token: string;
  readonly digest: string | undefined;
  lastSeen: number;
  readonly #manner: Manner;

  constructor(own: Omit<Connection, keyof Manner>, manner: Manner) {
    this.connection = own.connection;
    this.clientId = own.clientId;
    this.username = own.username;
    this.address = own.address;
    this.onEnd = own.onEnd;
    this.connectedAt = own.connectedAt;
    this.token = own.token;
    this.digest = own.digest;
    this.lastSeen = own.lastSeen;
    this.#manner = manner;
  }

  get protocol(): Protocol {
    return this.#manner.protocol;
  }

  get network(): Connection['network'] {
    return this.#manner.network;
  }

  get version(): number {
    return this.#manner.version;
  }

  get keepalive(): number {
    return this.#manner.keepalive;
  }

  get clean(): boolean {
    return this.#manner.clean;
  }

  get will(): Connection['will'] {
    return this.#manner.will;
  }

  get timeout(): number {
    return this.#manner.timeout;
  }
}

/** One manner for those that come in alike, as far as no other kind of the same protocol comes in between. */
export class Manners {
  readonly #last: { [protocol in Protocol]: Manner | undefined } = { coap: undefined, mqtt: undefined };

  of(arrival: Manner): Manner {
    const last = this.#last[arrival.protocol];
    if (last !== undefined && isLike(last, arrival)) return last;
    const { protocol, network, version, keepalive, clean, will, timeout } = arrival;
    const manner = { protocol, network, version, keepalive, clean, will, timeout };
    this.#last[protocol] = manner;
    return manner;
  }
}

function isLike(a: Manner, b: Manner): boolean {
  return (
    a.network === b.network &&
    a.version === b.version &&
    a.keepalive === b.keepalive &&
    a.clean === b.clean &&
    a.will === b.will &&
    a.timeout === b.timeout
  );
}
