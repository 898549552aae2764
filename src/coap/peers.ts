import type { Endpoint, Place } from './message-layer.ts';
import type { Transport, TransportSession } from './transport.ts';

/** What the parts of the layer keep about an endpoint. Lives while something refers to it (`references`). */
export class Peer implements Endpoint {
  readonly transport: Transport;
  /** Of a secure transport: what the endpoint is, wherever it is (RFC 7252 §9.1.1). */
  readonly session: TransportSession | undefined;
  readonly tableKey: number | string;
  /** Distinguishes peers in keys, and places them in hash tables where no sender can aim at. */
  readonly seed: number;
  /** Things that refer to this peer; at none it is forgotten. */
  references = 0;
  /** Requests that wait for the handler. */
  pending = 0;
  uploads = 0;
  /** Its remembered requests: a list through the deduplicator's slots. */
  oldestSlot = 0;
  newestSlot = 0;
  remembered = 0;
  readonly #address: string;
  readonly #port: number;
  #messageId: number;
  #key: string | undefined;

  constructor(
    transport: Transport,
    address: string,
    port: number,
    tableKey: number | string,
    random: () => number,
    session?: TransportSession,
  ) {
    this.transport = transport;
    this.session = session;
    this.#address = address;
    this.#port = port;
    this.tableKey = tableKey;
    this.seed = Math.floor(random() * 0x1_0000_0000) | 0;
    this.#messageId = Math.floor(random() * 0x1_0000);
  }

  get key(): string {
    this.#key ??= `${this.transport.url}|${this.#place}`;
    return this.#key;
  }

  get #place(): string {
    return this.session === undefined ? bracketed(this.#address, this.#port) : `session ${this.session.id}`;
  }

  get address(): string {
    return this.session?.address ?? this.#address;
  }

  get port(): number {
    return this.session?.port ?? this.#port;
  }

  get identity(): string | undefined {
    return this.session?.identity;
  }

  get secure(): boolean {
    return this.transport.secure;
  }

  get place(): Place | undefined {
    if (this.session !== undefined) return undefined;
    return { url: this.transport.url, address: this.#address, port: this.#port };
  }

  /** A fresh message id; they repeat after 65,536 messages to this peer (RFC 7252 §4.4). */
  nextMessageId(): number {
    this.#messageId = (this.#messageId + 1) & 0xffff;
    return this.#messageId;
  }
}

/** The endpoints about which something is kept. */
export class PeerTable {
  readonly #random: () => number;
  readonly #byTransport = new Map<Transport, Map<number | string, Peer>>();
  #size = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  get size(): number {
    return this.#size;
  }

  /** The peer at that address, or of that session. It is kept once something is `hold`ing it. */
  at(transport: Transport, address: string, port: number, session?: TransportSession): Peer {
    const key = session === undefined ? tableKeyOf(address, port) : -1 - session.id;
    return this.#peersOf(transport).get(key) ?? new Peer(transport, address, port, key, this.#random, session);
  }

  /** The peer of a session, where something is kept of it. */
  ofSession(transport: Transport, session: TransportSession): Peer | undefined {
    return this.#byTransport.get(transport)?.get(-1 - session.id);
  }

  /** The peer of an endpoint that a request came from; undefined for an endpoint of another make. */
  of(endpoint: Endpoint): Peer | undefined {
    if (!(endpoint instanceof Peer)) return undefined;
    return this.#peersOf(endpoint.transport).get(endpoint.tableKey) ?? endpoint;
  }

  hold(peer: Peer): void {
    if (peer.references++ > 0) return;
    this.#peersOf(peer.transport).set(peer.tableKey, peer);
    this.#size += 1;
  }

  release(peer: Peer): void {
    if (--peer.references > 0) return;
    this.#peersOf(peer.transport).delete(peer.tableKey);
    this.#size -= 1;
  }

  #peersOf(transport: Transport): Map<number | string, Peer> {
    let peers = this.#byTransport.get(transport);
    if (peers === undefined) {
      peers = new Map();
      this.#byTransport.set(transport, peers);
    }
    return peers;
  }
}

function bracketed(address: string, port: number): string {
  return `${address.includes(':') ? `[${address}]` : address}:${port}`;
}

/** A number below 2^48 for an IPv4 literal, which costs no string; the text for any other. */
function tableKeyOf(address: string, port: number): number | string {
  let value = 0;
  let part = 0;
  for (let at = 0; at < address.length; at++) {
    const char = address.charCodeAt(at);
    if (char === 46) {
      value = value * 256 + part;
      part = 0;
    } else if (char >= 48 && char <= 57) part = part * 10 + char - 48;
    else return `${address}|${port}`;
  }
  return (value * 256 + part) * 65_536 + port;
}
