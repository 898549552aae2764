import { timingSafeEqual } from 'node:crypto';
import {
  certificateMessage,
  certificateRequest,
  parseCertificates,
  parseCertificateVerify,
} from './certificate-messages.ts';
import type { ClientCertificate, ServerCertificate } from './certificates.ts';
import { type ClientHello, offersDtls12, parseClientHello } from './client-hello.ts';
import { type FlightItem, renderFlight, type Sequences } from './flight.ts';
import { type Fragment, type HandshakeMessage, Reassembler, writeFragment } from './fragments.ts';
import { EcdheExchange, ecdsaSha256, type KeyExchange, PskExchange, type PskKeys, p256 } from './key-exchange.ts';
import { extendedMasterSecret, keyBlock, masterSecret, sha256, verifyData } from './key-schedule.ts';
import type { DtlsOptions } from './options.ts';
import { ownCopy } from './own-copy.ts';
import { RecordProtection } from './protection.ts';
import { alerts, handshakeTypes, verifyDataLength } from './protocol.ts';
import type { DtlsRecord } from './record.ts';
import { ReplayWindow } from './replay-window.ts';
import type { ResumptionCache } from './resumption.ts';
import { serverHello } from './server-messages.ts';
import { type CipherSuite, chooseSuite } from './suites.ts';

export interface HandshakeDeps {
  readonly options: DtlsOptions;
  readonly psk: PskKeys;
  /** Undefined: no suite with certificates is offered. */
  readonly certificate: ServerCertificate | undefined;
  /** Wall time, milliseconds: certificates have dates. */
  readonly wall: () => number;
  readonly resumption: ResumptionCache;
  readonly random: (length: number) => Buffer;
}

/** Why a handshake came to nothing. */
export type FailureReason =
  | 'malformed'
  | 'protocol_version'
  | 'no_common_suite'
  | 'illegal_parameter'
  | 'key'
  | 'certificate'
  | 'timeout'
  | 'displaced';

/**
 * What an input led to. `wait`: nothing to send. `flight`: a new one of ours is to be sent. `again`: the client sent its
 * last flight once more, and ours is due again (RFC 6347 §4.2.4). `proven`: the client's Finished was right.
 */
export type Outcome =
  | { readonly kind: 'wait' | 'flight' | 'again' }
  | { readonly kind: 'proven'; readonly sends: boolean }
  | { readonly kind: 'failed'; readonly alert: number; readonly reason: FailureReason };

type Step =
  | 'client_hello'
  | 'client_certificate'
  | 'client_key_exchange'
  | 'certificate_verify'
  | 'finished'
  | 'nothing';

const wait: Outcome = { kind: 'wait' };
const failed = (alert: number, reason: FailureReason): Outcome => ({ kind: 'failed', alert, reason });

/** One handshake at the server's end, RFC 6347 §4.2: from a ClientHello with a valid cookie to the client's Finished. */
export class ServerHandshake {
  readonly address: string;
  readonly port: number;
  readonly clientRandom: Buffer;
  readonly begun: number;
  /** Ours; chosen in advance, used where the client offers connection ids (RFC 9146). */
  readonly ownConnectionId: Buffer;
  readonly window = new ReplayWindow();
  readonly sequences: Sequences;
  /** When the flight is due again, and after which wait. */
  due = Number.POSITIVE_INFINITY;
  patience: number;
  sent = 0;
  /** A protected record that came before its keys. */
  early: DtlsRecord | undefined;
  peerConnectionId: Buffer | undefined;
  usesConnectionId = false;
  sessionId: Buffer = Buffer.alloc(0);
  identity: string | undefined;
  resumed = false;
  protection: RecordProtection | undefined;
  suite: CipherSuite | undefined;
  #master: Buffer | undefined;
  #extended = false;
  #serverRandom: Buffer = Buffer.alloc(0);
  #flight: FlightItem[] = [];
  #expected: Step = 'client_hello';
  #exchange: KeyExchange | undefined;
  #claimed: ClientCertificate | undefined;
  /** False where the client cannot prove itself: it named nobody that there is. */
  #possible = true;
  #transcript: Buffer[] = [];
  /** Of our next message. */
  #messageSequence: number;
  readonly #reassembler: Reassembler;
  readonly #deps: HandshakeDeps;

  /** `sequence`: of the hello's record; ours go on from there, RFC 6347 §4.2.1. */
  constructor(
    deps: HandshakeDeps,
    from: { address: string; port: number; clientRandom: Buffer; messageSequence: number; sequence: number },
    now: number,
  ) {
    this.#deps = deps;
    this.address = from.address;
    this.port = from.port;
    this.clientRandom = ownCopy(from.clientRandom);
    this.begun = now;
    this.patience = deps.options.retransmitAfter;
    this.sequences = { plain: from.sequence, sealed: 0 };
    this.ownConnectionId = deps.random(8);
    this.#messageSequence = from.messageSequence;
    this.#reassembler = new Reassembler(deps.options.maxHandshakeMessage, from.messageSequence);
  }

  get complete(): boolean {
    return this.#expected === 'nothing';
  }

  /** A fragment from a record of epoch 0, or from one of epoch 1 that was opened. */
  received(fragment: Fragment, epoch: 0 | 1, now: number): Outcome {
    // RFC 5246 §7.4.9: what proves the keys is protected with them, and nothing else of a handshake is
    if ((fragment.type === handshakeTypes.finished) !== (epoch === 1)) return wait;
    switch (this.#reassembler.add(fragment)) {
      case 'old':
        return fragment.offset === 0 && this.#flight.length > 0 ? { kind: 'again' } : wait;
      case 'bad':
        return failed(alerts.decodeError, 'malformed');
      case 'early':
        return wait;
      case 'taken': {
        let outcome = wait;
        for (let next = this.#reassembler.take(); next !== undefined; next = this.#reassembler.take()) {
          outcome = this.#message(next, now);
          if (outcome.kind === 'failed' || outcome.kind === 'proven') break;
        }
        return outcome;
      }
    }
  }

  /** The datagrams of the flight that is ours to send now. */
  render(): Buffer[] {
    const sealed = { protection: this.protection, connectionId: this.peerConnectionId };
    return renderFlight(this.#flight, this.sequences, this.#deps.options.maxHandshakeDatagram, sealed);
  }

  /** Our last flight's messages, for the session to send again where the client did not get them. */
  get lastFlight(): readonly FlightItem[] {
    return this.#flight;
  }

  /** For the cache of sessions; undefined where this one is not to be resumed. The caller takes it over. */
  takeMaster(): Buffer | undefined {
    const master = this.#extended && !this.resumed ? this.#master : undefined;
    if (master === undefined) this.#master?.fill(0);
    this.#master = undefined;
    return master;
  }

  /** Forgets all secrets; with the keys of the records, unless a session has taken them over. */
  destroy(keepKeys = false): void {
    this.#master?.fill(0);
    this.#master = undefined;
    this.#reassembler.clear();
    this.#transcript = [];
    this.early = undefined;
    if (!keepKeys) this.protection?.destroy();
  }

  #message(message: HandshakeMessage, now: number): Outcome {
    const { type } = message;
    if (this.#expected === 'client_hello' && type === handshakeTypes.clientHello) return this.#hello(message, now);
    if (this.#expected === 'client_certificate' && type === handshakeTypes.certificate) return this.#certified(message);
    if (this.#expected === 'client_key_exchange' && type === handshakeTypes.clientKeyExchange) {
      return this.#keyExchange(message);
    }
    if (this.#expected === 'certificate_verify' && type === handshakeTypes.certificateVerify)
      return this.#held(message);
    if (this.#expected === 'finished' && type === handshakeTypes.finished) return this.#finished(message);
    return failed(alerts.unexpectedMessage, 'malformed');
  }

  #hello(message: HandshakeMessage, now: number): Outcome {
    const hello = parseClientHello(message.body);
    if (hello === undefined) return failed(alerts.decodeError, 'malformed');
    if (!offersDtls12(hello)) return failed(alerts.protocolVersion, 'protocol_version');
    if (!hello.compressions.includes(0)) return failed(alerts.illegalParameter, 'illegal_parameter');
    // RFC 5746 §3.6
    if (hello.renegotiation === 'bad') return failed(alerts.handshakeFailure, 'illegal_parameter');
    const former = this.#deps.resumption.find(hello.sessionId, now);
    // RFC 7627 §5.3: a session with the extension is not resumed without it
    if (former !== undefined && !hello.extendedMasterSecret)
      return failed(alerts.handshakeFailure, 'illegal_parameter');
    const resumed = former !== undefined && hello.suites.includes(former.suite.id) ? former : undefined;
    const suite = resumed?.suite ?? chooseSuite(hello.suites, (exchange) => this.#usable(exchange, hello));
    if (suite === undefined) return failed(alerts.handshakeFailure, 'no_common_suite');
    this.suite = suite;
    this.#extended = hello.extendedMasterSecret;
    this.#serverRandom = this.#deps.random(32);
    this.resumed = resumed !== undefined;
    // without the extension there is nothing to resume, and so no id (RFC 5246 §7.4.1.3)
    if (resumed !== undefined) this.sessionId = ownCopy(hello.sessionId);
    else if (this.#extended) this.sessionId = this.#deps.random(32);
    if (hello.connectionId !== undefined) {
      this.usesConnectionId = true;
      this.peerConnectionId = hello.connectionId.length === 0 ? undefined : ownCopy(hello.connectionId);
    }
    this.#transcript.push(writeFragment(message));
    this.#say(handshakeTypes.serverHello, this.#serverHello(hello, suite));
    if (resumed === undefined) {
      this.#offer(suite);
      return { kind: 'flight' };
    }
    this.identity = resumed.identity;
    this.#master = ownCopy(resumed.master);
    this.#deriveKeys(suite, this.#master);
    this.#sayFinished(this.#master);
    this.#expected = 'finished';
    return { kind: 'flight' };
  }

  /** What follows the ServerHello of a full handshake. */
  #offer({ exchange }: CipherSuite): void {
    const { psk, random, certificate } = this.#deps;
    this.#expected = 'client_key_exchange';
    this.#exchange = new PskExchange(psk, random);
    if (exchange === 'ecdhe_ecdsa' && certificate !== undefined) {
      this.#exchange = new EcdheExchange(certificate);
      this.#say(handshakeTypes.certificate, certificateMessage(certificate.chain));
    }
    const body = this.#exchange.offer(this.clientRandom, this.#serverRandom);
    if (body !== undefined) this.#say(handshakeTypes.serverKeyExchange, body);
    if (exchange === 'ecdhe_ecdsa' && certificate !== undefined && certificate.clientCertificate !== 'none') {
      this.#say(handshakeTypes.certificateRequest, certificateRequest());
      this.#expected = 'client_certificate';
    }
    this.#say(handshakeTypes.serverHelloDone, Buffer.alloc(0));
  }

  #usable(exchange: CipherSuite['exchange'], { groups, signatures }: ClientHello): boolean {
    if (exchange === 'psk') return true;
    // without the extension a client means SHA-1, RFC 5246 §7.4.1.4.1
    const fits = groups?.includes(p256) !== false && signatures?.includes(ecdsaSha256) === true;
    return fits && this.#deps.certificate !== undefined;
  }

  /** The client's certificate, RFC 5246 §7.4.6: it may have none, where it need not. */
  #certified(message: HandshakeMessage): Outcome {
    const { certificate, wall } = this.#deps;
    const chain = parseCertificates(message.body);
    if (chain === undefined) return failed(alerts.decodeError, 'malformed');
    if (chain.length === 0 && certificate?.clientCertificate === 'required') {
      return failed(alerts.handshakeFailure, 'certificate');
    }
    this.#claimed = chain.length === 0 ? undefined : certificate?.judge(chain, wall());
    if (chain.length > 0 && this.#claimed === undefined) return failed(alerts.badCertificate, 'certificate');
    this.#transcript.push(writeFragment(message));
    this.#expected = 'client_key_exchange';
    return wait;
  }

  /** That the client holds the certificate's key, RFC 5246 §7.4.8: signed over all messages so far. */
  #held(message: HandshakeMessage): Outcome {
    const signature = parseCertificateVerify(message.body);
    if (signature === undefined) return failed(alerts.decodeError, 'malformed');
    if (this.#claimed?.verify(Buffer.concat(this.#transcript), signature) !== true) {
      return failed(alerts.decryptError, 'certificate');
    }
    this.identity = this.#claimed.identity;
    this.#transcript.push(writeFragment(message));
    this.#expected = 'finished';
    return wait;
  }

  #serverHello(hello: ClientHello, suite: CipherSuite): Buffer {
    return serverHello({
      random: this.#serverRandom,
      sessionId: this.sessionId,
      suite: suite.id,
      extendedMasterSecret: this.#extended,
      renegotiation: hello.renegotiation === 'offered',
      pointFormats: hello.pointFormats && suite.exchange === 'ecdhe_ecdsa',
      connectionId: this.usesConnectionId ? this.ownConnectionId : undefined,
    });
  }

  #keyExchange(message: HandshakeMessage): Outcome {
    const agreed = this.#exchange?.agree(message.body);
    if (agreed === undefined || this.suite === undefined) return failed(alerts.decodeError, 'malformed');
    this.#transcript.push(writeFragment(message));
    const { premaster, identity, possible } = agreed;
    this.identity = identity;
    this.#possible = possible;
    const master = this.#extended
      ? extendedMasterSecret(premaster, sha256(this.#transcript))
      : masterSecret(premaster, this.clientRandom, this.#serverRandom);
    premaster.fill(0);
    this.#exchange = undefined;
    this.#master = master;
    this.#deriveKeys(this.suite, master);
    this.#flight = [];
    this.#expected = this.#claimed === undefined ? 'finished' : 'certificate_verify';
    return wait;
  }

  #finished(message: HandshakeMessage): Outcome {
    const master = this.#master;
    if (master === undefined || !this.#possible) return failed(alerts.decryptError, 'key');
    const right = verifyData(master, 'client', sha256(this.#transcript));
    if (message.body.length !== verifyDataLength || !timingSafeEqual(right, message.body)) {
      return failed(alerts.decryptError, 'key');
    }
    this.#transcript.push(writeFragment(message));
    this.#expected = 'nothing';
    if (this.resumed) {
      this.#flight = [];
      return { kind: 'proven', sends: false };
    }
    this.#sayFinished(master);
    return { kind: 'proven', sends: true };
  }

  #sayFinished(master: Buffer): void {
    this.#flight.push({ kind: 'change_cipher_spec' });
    const body = verifyData(master, 'server', sha256(this.#transcript));
    const message = { type: handshakeTypes.finished, messageSequence: this.#messageSequence++, body };
    this.#transcript.push(writeFragment(message));
    this.#flight.push({ kind: 'sealed', message });
  }

  #say(type: number, body: Buffer): void {
    const message = { type, messageSequence: this.#messageSequence++, body };
    this.#transcript.push(writeFragment(message));
    this.#flight.push({ kind: 'plain', message });
  }

  #deriveKeys(suite: CipherSuite, master: Buffer): void {
    this.protection = new RecordProtection(suite, keyBlock(master, this.clientRandom, this.#serverRandom), 'server');
  }
}
