/** Times in milliseconds, sizes in bytes. Names in capitals are RFC 7252 §4.8's. */
export interface CoapOptions {
  /** ACK_TIMEOUT: least wait before the first retransmission. */
  readonly ackTimeout: number;
  /** ACK_RANDOM_FACTOR: the first wait is `ackTimeout` times 1 to this. */
  readonly ackRandomFactor: number;
  /** MAX_RETRANSMIT. */
  readonly maxRetransmit: number;
  /** A CON request unanswered for that long gets an empty ACK, and its answer separately. */
  readonly separateAfter: number;
  /** EXCHANGE_LIFETIME: how long a CON request is remembered. */
  readonly exchangeLifetime: number;
  /** NON_LIFETIME: how long a NON request is remembered. */
  readonly nonLifetime: number;
  /** Requests remembered, in all and per endpoint, and the bytes of their answers. The oldest are forgotten first. */
  readonly maxRemembered: number;
  readonly maxRememberedPerEndpoint: number;
  readonly maxRememberedBytes: number;
  /** Requests that wait for the handler's answer; beyond, CON gets 5.03 and NON nothing. */
  readonly maxPending: number;
  readonly maxPendingPerEndpoint: number;
  /** The largest request body. */
  readonly maxPayload: number;
  /** The largest block sent and asked for: a power of two from 16 to 1024. */
  readonly blockSize: number;
  /** Unfinished Block1 uploads. */
  readonly maxUploads: number;
  readonly maxUploadsPerEndpoint: number;
  readonly maxUploadBytes: number;
  /** An upload without a block for that long is forgotten. */
  readonly uploadIdle: number;
  /** Large answers kept so that a client can fetch their other blocks. */
  readonly maxRepresentations: number;
  readonly maxRepresentationBytes: number;
  readonly representationLifetime: number;
  readonly maxObservations: number;
  readonly maxObservationsPerEndpoint: number;
  /** Messages that wait behind a CON in flight: per endpoint, in all, and their bytes in all. */
  readonly maxQueuedPerEndpoint: number;
  readonly maxQueued: number;
  readonly maxQueuedBytes: number;
  /** A NON-only observation gets a CON at least that often, RFC 7641 §4.5. */
  readonly confirmEvery: number;
  /** `stop` waits that long for answers that are still due. */
  readonly stopGrace: number;
}

export const defaultCoapOptions: CoapOptions = {
  ackTimeout: 2_000,
  ackRandomFactor: 1.5,
  maxRetransmit: 4,
  separateAfter: 500,
  exchangeLifetime: 247_000,
  nonLifetime: 145_000,
  maxRemembered: 65_536,
  maxRememberedPerEndpoint: 4_096,
  maxRememberedBytes: 4_194_304,
  maxPending: 4_096,
  maxPendingPerEndpoint: 64,
  maxPayload: 65_536,
  blockSize: 1_024,
  maxUploads: 256,
  maxUploadsPerEndpoint: 32,
  maxUploadBytes: 8_388_608,
  uploadIdle: 93_000,
  maxRepresentations: 256,
  maxRepresentationBytes: 8_388_608,
  representationLifetime: 93_000,
  maxObservations: 20_000,
  maxObservationsPerEndpoint: 1_024,
  maxQueuedPerEndpoint: 100,
  maxQueued: 65_536,
  maxQueuedBytes: 16_777_216,
  confirmEvery: 86_400_000,
  stopGrace: 1_000,
};
