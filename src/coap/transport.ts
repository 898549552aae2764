/** A peer's session of a secure transport: who it is, and where it is now. */
export interface TransportSession {
  /** Given to one session of the transport and never again. A whole number from 0. */
  readonly id: number;
  /** The name under which the peer proved itself; undefined where it did not need to. */
  readonly identity: string | undefined;
  /** Where its last datagram came from; changes where the transport can tell that it is the same peer. */
  readonly address: string;
  readonly port: number;
}

/** What a transport reports. */
export interface TransportListener {
  /**
   * A datagram from `address` (an IP literal, v4-mapped ones as IPv4) and `port`. The buffer is the listener's now.
   * `session`: of a secure transport, always; it is the endpoint then, whatever its address is.
   */
  received(datagram: Buffer, address: string, port: number, session?: TransportSession): void;
  /** A send failed after the call, or the socket reported an error. */
  failed(reason: Error): void;
  /** Nothing comes from that session any more, and nothing can be sent to it. */
  ended?(session: TransportSession): void;
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
  /**
   * May throw; a datagram that was not sent is lost, as on the way. The bytes must not change afterwards. With `session`
   * it goes to where that session is now.
   */
  send(datagram: Uint8Array, address: string, port: number, session?: TransportSession): void;
  /** Reads no more, where that can be: what comes is left to the next process that has the socket. It can still send. */
  pause?(): void;
  stop(): Promise<void>;
}
