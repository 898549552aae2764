/** What a transport reports. */
export interface TransportListener {
  /** A datagram from `address` (an IP literal, v4-mapped ones as IPv4) and `port`. The buffer is the listener's now. */
  received(datagram: Buffer, address: string, port: number): void;
  /** A send failed after the call, or the socket reported an error. */
  failed(reason: Error): void;
}

/** Carries datagrams: UDP, a DTLS server's sessions, or a test's memory. */
export interface Transport {
  /** Where it listens, unique among transports, e.g. `coap://127.0.0.1:5683`. */
  readonly url: string;
  readonly secure: boolean;
  /** Whether another process holds the socket too: what is not read here is read by who comes next. */
  readonly held?: boolean;
  /** @throws HoldfastError `start_failed` if the address cannot be bound. */
  start(listener: TransportListener): Promise<void>;
  /** May throw; a datagram that was not sent is lost, as on the way. The bytes must not change afterwards. */
  send(datagram: Uint8Array, address: string, port: number): void;
  stop(): Promise<void>;
}
