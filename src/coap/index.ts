/**
 * CoAP: the message layer over UDP. It knows nothing of MQTT; `resources/` does, against this surface.
 *
 * Promises
 * - A request is handed to the handler once: a retransmission never runs twice, not while the handler is still busy
 *   either (RFC 7252 §4.5). It gets what the first got: nothing yet, the empty ACK, or the same answer.
 * - An answer is piggybacked if it comes within 500 ms, otherwise separate: a CON, retransmitted (§5.2, §4.2).
 * - Notifications of an observation leave in the order of `notify`, numbered strictly rising (RFC 7641 §4.4); they are
 *   lost only where a bound says so, or with the observation's end, and `onSettled` tells.
 * - Bodies are whole: Block1 uploads are reassembled, Block2 answers and notifications are cut (RFC 7959), matched by
 *   endpoint, method and URI (and Request-Tag, RFC 9175), never by token.
 * - No datagram ends the process, and none makes it allocate more than a small multiple of its own size.
 *
 * Not promised
 * - Duplicates are recognised for 247 s (NON: 145 s) or among the last 65,536 requests, 4,096 of one endpoint,
 *   whichever is less. What waits for the handler is never forgotten.
 * - NON notifications are not paced (RFC 7641 §4.5.1 leaves that to the sender). Multicast is not served.
 *
 * How a datagram goes
 *
 *     Transport → Dispatcher ─ decode ─┬ malformed        RST to a CON, otherwise nothing
 *                                      ├ empty, response  Outbox (ACK, RST), Observations (RST to a NON), or RST
 *                                      └ request ─ Deduplicator ─ Incoming ─ Uploads ─ Representations ─ Exchanges
 *     Handler → Exchanges.respond → cut into blocks → ACK at once, or Outbox
 *     Observation.notify → Outbox → cut into blocks, numbered → Transport
 *
 * What is answered with what, where the RFCs leave a choice: an empty NON and a stray ACK or RST get nothing; a CON
 * response nobody waits for gets RST; a CON with a critical option that is unknown gets 4.02, a NON gets RST (§5.4.1);
 * If-Match and If-None-Match get 4.12; overload gets 5.03 with Max-Age 1, a NON nothing; while stopping, new requests
 * get nothing, so that a client's retransmission finds the next process; from a socket that outlives this one they are
 * taken until no answer is due, since what was read is not there for the next.
 *
 * Invariants
 * - A `Peer` is in the table while something refers to it, and only then.
 * - A peer has at most one CON of ours in flight (NSTART 1); all else of ours to it waits behind, NON too, so that order
 *   holds. Piggybacked answers, and those to NON requests, do not wait.
 * - A sequence number and a message id are given when a message leaves, not when it is queued.
 * - A duplicate is the same peer, message id and bytes: a device that restarts and counts from 1 again is not mistaken.
 *
 * Bounds (`CoapOptions`), all with a count in all and per endpoint or in bytes: remembered requests, requests that wait,
 * uploads, representations, observations, queued messages. At a bound the oldest gives way where that harms nobody who
 * is active (remembered requests, representations, queued notifications, idle uploads), otherwise the new one is
 * refused.
 *
 * Over a secure transport (`dtls/`) an endpoint is a session, not an address: a `Peer` has the transport's session, is found
 * by its id, and its address is the session's current one, so that what is sent follows a peer that moved (RFC 9146), and a
 * retransmission from the new address is known for one. When the session ends, its observations end as `gone` and what was
 * queued for it is dropped. The session's identity is the endpoint's; the resources take it for the user name.
 *
 * DTLS 1.2 (RFC 6347, 7925) on the primitives of `node:crypto`, which is used in `dtls/` alone: `DtlsServer` is pure, datagrams and
 * the time in, datagrams and contents out; `DtlsTransport` gives it a carrier and a clock.
 *
 *     datagram → parseRecord ┬ epoch 0: HelloGate (cookie; keeps nothing) → ServerHandshake → EstablishedSessions
 *                            └ epoch 1: the handshake's keys, else the session's by connection id, else by address
 *
 * - Nothing is kept of a hello without a valid cookie; the answers to such are shorter than it, and bounded in a second.
 * - A session ends by: its authentic close_notify or fatal alert, silence (a day), its key changed or gone, the bound on
 *   sessions (the one silent longest), or another session at its address whose Finished was verified. Nothing that is not
 *   authentic ends it or moves it.
 * - A wrong key and an identity that is not there fail alike: decrypt_error after the client's Finished (RFC 4279 §2).
 * - With a certificate (ECDSA, P-256) ECDHE suites are offered too; a client's certificate may be asked for, its subject's
 *   common name is the identity. There is no revocation list; a session outlives the certificate it began with.
 * - Sessions without the extended master secret (RFC 7627) are not resumed. Renegotiation is refused.
 * - What is not authentic is dropped and counted, but for the Finished of a handshake, which fails it: only there can the
 *   two ends have other keys, and who can send it from the client's address can send the client an alert as well. Keys are wiped when a session, a handshake or a cached session goes.
 *
 * Other than the RFCs: a ClientHello's first fragment must reach beyond the cookie; a ChangeCipherSpec is not waited for, the
 * epoch says the same; an address change is followed without a probe of the path (RFC 9146 §6 leaves that open);
 * max_fragment_length and record_size_limit are not answered.
 *
 * Resources. A subscription of a connected client with a QoS above 0 is durable (`resources/subscriptions.ts`): what the client
 * has not acknowledged is held for it as long as it is connected, a thousand messages at most, and sent again where the way
 * to it ended. After exhausted retransmissions, the end of a DTLS session, or a restart of the gateway that is at the next sign of
 * life (at once, where it is known from the last run where the client is); after an RST, or a new login of the same user, once it
 * has subscribed again, for 1.5 heartbeats. Over a restart the client keeps its token; its messages are on the disk before they
 * are acknowledged, and are read again from the log.
 * An observer without a connection, which nothing would tell of a restart, is gone on with where it was (`resources/logins.ts`) and
 * owed nothing; the first notification is a CON, so that one that is not there any more ends. It is written to the disk at an
 * orderly end and every ten minutes: after a crash the others have to register again.
 *
 * The client (`client/`) is for one server, over UDP: `CoapClient` → body (blocks) → `Requests` → `Exchange` → `Datagrams`. It
 * shares the codec with the server and nothing else. Requests are CON, one unacknowledged at a time, each with a random token
 * of 8 bytes. A notification that came twice is told once; it is acknowledged when the observer has taken it, with its blocks, so
 * that a server that has one CON in flight cannot replace them meanwhile. Notifications are told in the order of arrival and
 * none is left out for being older (RFC 7641 §3.4): here they are messages, not states.
 *
 * Time: one tick of 100 ms while an answer or an ACK is due, one sweep of 5 s for what expires. No timer per exchange.
 * DTLS: one tick of 250 ms while a handshake goes on, one sweep of 30 s.
 */
export type { ClientRequest, ClientResponse } from './client/body.ts';
export { CoapClient, type CoapClientDeps, type Observer } from './client/client.ts';
export { type DatagramListener, type Datagrams, UdpDatagrams } from './client/datagrams.ts';
export { defaultExchangeOptions, type ExchangeOptions } from './client/exchange.ts';
export { code, codes, codeText, methods } from './codes.ts';
export type { CoapDiagnostics } from './counters.ts';
export { decode, type Malformed, Message, types } from './decode.ts';
export { type CertificateParts, ServerCertificate } from './dtls/certificates.ts';
export { type Carrier, DtlsTransport, type DtlsTransportDeps } from './dtls/dtls-transport.ts';
export type { PskKeys } from './dtls/key-exchange.ts';
export { type DtlsOptions, defaultDtlsOptions } from './dtls/options.ts';
export { encode, type MessageParts } from './encode.ts';
export type {
  CoapRequest,
  CoapResponse,
  Endpoint,
  KeptObservation,
  NotificationOutcome,
  NotifyOptions,
  Observation,
  ObservationEnd,
  ObserveOptions,
  Place,
  RequestHandler,
  Respond,
} from './message-layer.ts';
export { optionNumbers } from './option-numbers.ts';
export { type CoapOptions, defaultCoapOptions } from './options.ts';
export { CoapResources, type ResourceDeps, type ResourceOptions } from './resources/resources.ts';
export { CoapServer, type CoapServerDeps } from './server.ts';
export type { Transport, TransportListener, TransportSession } from './transport.ts';
export { type UdpAddress, type UdpOptions, UdpTransport, udpTransports } from './udp-transport.ts';
