/** Times in milliseconds. */
export interface DtlsOptions {
  /** Sessions at once; at the bound the one that was silent longest gives way. */
  readonly maxSessions: number;
  /** Of one IP address, and of one identity: likewise. */
  readonly maxSessionsPerAddress: number;
  readonly maxSessionsPerIdentity: number;
  /** Handshakes at once, in all and from one IP address; the oldest gives way. */
  readonly maxHandshakes: number;
  readonly maxHandshakesPerAddress: number;
  /** ClientHellos answered in a second: without a cookie (a hash each), and with one (a handshake each). */
  readonly maxHellosPerSecond: number;
  readonly maxHandshakesPerSecond: number;
  /** A handshake that takes longer is given up. */
  readonly handshakeTimeout: number;
  /** First wait for the client's flight; doubles, to a minute at most (RFC 6347 §4.2.4.1). */
  readonly retransmitAfter: number;
  /** Times that a flight is sent again, by the timer and for the client's own retransmissions. */
  readonly maxRetransmissions: number;
  /** A session without an authentic record for that long ends. */
  readonly sessionIdle: number;
  /** Sessions that may be resumed, and for how long. */
  readonly maxResumable: number;
  readonly resumableFor: number;
  /** The largest datagram of a handshake; messages are cut to fit. */
  readonly maxHandshakeDatagram: number;
  /** The largest handshake message taken. */
  readonly maxHandshakeMessage: number;
}

export const defaultDtlsOptions: DtlsOptions = {
  maxSessions: 10_000,
  maxSessionsPerAddress: 2_000,
  maxSessionsPerIdentity: 2_000,
  maxHandshakes: 512,
  maxHandshakesPerAddress: 128,
  maxHellosPerSecond: 5_000,
  maxHandshakesPerSecond: 500,
  handshakeTimeout: 60_000,
  retransmitAfter: 1_000,
  maxRetransmissions: 12,
  sessionIdle: 86_400_000,
  maxResumable: 10_000,
  resumableFor: 86_400_000,
  maxHandshakeDatagram: 1_200,
  maxHandshakeMessage: 2_048,
};
