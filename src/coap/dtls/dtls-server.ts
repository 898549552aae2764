import type { ServerCertificate } from './certificates.ts';
import type { DropReason, DtlsCounters } from './counters.ts';
import { type DtlsSink, EstablishedSessions } from './established.ts';
import { type Fragment, parseFragments } from './fragments.ts';
import { type FailureReason, type Outcome, ServerHandshake } from './handshake.ts';
import { HandshakeTable } from './handshake-table.ts';
import { HelloGate } from './hello-gate.ts';
import type { PskKeys } from './key-exchange.ts';
import type { DtlsOptions } from './options.ts';
import { alertLevels, alerts, contentTypes, handshakeTypes, versions } from './protocol.ts';
import { type DtlsRecord, parseRecord, plainRecord } from './record.ts';
import { ResumptionCache } from './resumption.ts';
import { DtlsSession } from './session.ts';

export interface DtlsServerDeps {
  readonly options: DtlsOptions;
  readonly psk: PskKeys;
  /** Wall time, milliseconds. */
  readonly wall: () => number;
  readonly sink: DtlsSink;
  readonly counters: DtlsCounters;
  /** Unpredictable bytes. */
  readonly random: (length: number) => Buffer;
}

interface From {
  readonly address: string;
  readonly port: number;
}

/** Of the ids that we give out. */
const connectionIdLength = 8;
/** The longest wait between retransmissions, RFC 6347 §4.2.4.1. */
const maxPatience = 60_000;
/** The largest record kept until its keys are there: a Finished with a connection id has 50 bytes. */
const maxEarly = 128;

/** A DTLS 1.2 server without sockets or timers: datagrams and the time in, datagrams and contents out. */
export class DtlsServer {
  readonly #deps: DtlsServerDeps;
  readonly #gate: HelloGate;
  readonly #resumption: ResumptionCache;
  readonly #handshakes = new HandshakeTable();
  readonly #established: EstablishedSessions;
  #nextId = 0;
  /** Undefined: only suites with pre-shared keys. */
  certificate: ServerCertificate | undefined;

  constructor(deps: DtlsServerDeps, now: number) {
    const { options, sink, counters } = deps;
    this.#deps = deps;
    this.#gate = new HelloGate(options, deps.random, now);
    this.#resumption = new ResumptionCache(options.maxResumable, options.resumableFor);
    this.#established = new EstablishedSessions({ options, sink, counters, resumption: this.#resumption });
  }

  get sessions(): number {
    return this.#established.size;
  }

  get handshakes(): number {
    return this.#handshakes.size;
  }

  get resumable(): number {
    return this.#resumption.size;
  }

  received(datagram: Buffer, address: string, port: number, now: number): void {
    const from = { address, port };
    for (let at = 0; at < datagram.length; ) {
      const record = parseRecord(datagram, at, connectionIdLength);
      if (record === undefined) {
        this.#dropped('malformed');
        return;
      }
      at = record.end;
      this.#record(record, from, now);
    }
  }

  /** Sends application data, a datagram of its own; nothing once the session has ended, or where it is too large. */
  send(session: DtlsSession, content: Uint8Array): void {
    this.#established.send(session, content);
  }

  /** Sends again what is due, gives up what took too long. To be called often while there are handshakes. */
  tick(now: number): void {
    const { options } = this.#deps;
    for (const handshake of [...this.#handshakes.all()]) {
      if (now - handshake.begun >= options.handshakeTimeout) this.#giveUp(handshake, 'timeout');
      else if (now >= handshake.due) {
        handshake.patience = Math.min(2 * handshake.patience, maxPatience);
        this.#repeat(handshake, now);
      }
    }
  }

  /** Ends what was silent too long. To be called now and then. */
  sweep(now: number): void {
    this.#resumption.sweep(now);
    this.#established.sweep(now);
  }

  /** The keys of these identities are others, or gone: what was proved with the former ones is void. */
  revoke(identities: ReadonlySet<string>, now: number): void {
    this.#resumption.sweep(now, (identity) => identity === undefined || !identities.has(identity));
    for (const handshake of [...this.#handshakes.all()]) {
      if (handshake.identity !== undefined && identities.has(handshake.identity)) this.#giveUp(handshake, 'key');
    }
    for (const identity of identities) this.#established.revoke(identity);
  }

  /** Tells every peer, and forgets all. */
  close(): void {
    for (const handshake of [...this.#handshakes.all()]) this.#remove(handshake);
    this.#established.close();
    this.#resumption.clear();
  }

  #record(record: DtlsRecord, from: From, now: number): void {
    if (record.type === contentTypes.connectionId || record.epoch > 0) this.#sealed(record, from, now);
    else if (record.type === contentTypes.handshake) this.#plainHandshake(record, from, now);
    else if (record.type === contentTypes.alert) this.#plainAlert(record, from);
    // A ChangeCipherSpec says nothing that the epoch does not. Data of epoch 0 is nobody's.
    else if (record.type !== contentTypes.changeCipherSpec) this.#dropped('malformed');
  }

  #plainHandshake(record: DtlsRecord, from: From, now: number): void {
    const fragments = record.version >>> 8 === 0xfe ? parseFragments(record.fragment) : undefined;
    if (fragments === undefined) this.#dropped('malformed');
    for (const fragment of fragments ?? []) {
      if (fragment.type === handshakeTypes.clientHello && fragment.offset === 0) {
        this.#hello(fragment, record, from, now);
        continue;
      }
      const handshake = this.#handshakes.at(from.address, from.port);
      if (handshake === undefined) this.#dropped('unknown_peer');
      else this.#follow(handshake, handshake.received(fragment, 0, now), now);
    }
  }

  #hello(fragment: Fragment, record: DtlsRecord, from: From, now: number): void {
    const { sink, counters } = this.#deps;
    const { address, port } = from;
    const verdict = this.#gate.judge(fragment, record, address, port, now);
    if (verdict.kind === 'dropped') this.#dropped(verdict.reason);
    else if (verdict.kind !== 'admitted') {
      (verdict.kind === 'verify' ? counters.helloVerifies : counters.failed.protocol_version).add();
      sink.send(verdict.answer, address, port);
    } else {
      let handshake = this.#handshakes.at(address, port);
      if (handshake === undefined || !handshake.clientRandom.equals(verdict.random)) {
        if (handshake !== undefined) this.#giveUp(handshake, 'displaced');
        handshake = this.#begin(fragment, record, verdict.random, from, now);
      }
      this.#follow(handshake, handshake.received(fragment, 0, now), now);
    }
  }

  #begin(fragment: Fragment, record: DtlsRecord, clientRandom: Buffer, from: From, now: number): ServerHandshake {
    const { options, psk, wall, random } = this.#deps;
    const { certificate } = this;
    const excess = this.#handshakes.excess(from.address, options.maxHandshakesPerAddress, options.maxHandshakes);
    if (excess !== undefined) this.#giveUp(excess, 'displaced');
    const { messageSequence } = fragment;
    const begin = { ...from, clientRandom, messageSequence, sequence: record.sequence };
    const resumption = this.#resumption;
    const handshake = new ServerHandshake({ options, psk, certificate, wall, random, resumption }, begin, now);
    this.#handshakes.add(handshake);
    return handshake;
  }

  /** Before there are keys anybody can send one: it only keeps us from sending again to a client that may be gone. */
  #plainAlert(record: DtlsRecord, from: From): void {
    const handshake = this.#handshakes.at(from.address, from.port);
    if (handshake === undefined) this.#dropped('unknown_peer');
    else if (record.fragment[0] === alertLevels.fatal) handshake.due = Number.POSITIVE_INFINITY;
  }

  #sealed(record: DtlsRecord, from: From, now: number): void {
    const { address, port } = from;
    const id = record.connectionId?.toString('latin1');
    const handshake = this.#handshakeOf(id, from);
    if (handshake !== undefined && this.#proving(handshake, record, now)) return;
    const session = this.#established.find(id, address, port);
    if (session !== undefined && this.#established.received(session, record, address, port, now)) return;
    if (handshake !== undefined) this.#unproven(handshake, record);
    else if (session === undefined) this.#dropped('unknown_peer');
  }

  /** RFC 9146 §3: with connection ids negotiated, a record without one is not that handshake's. */
  #handshakeOf(id: string | undefined, { address, port }: From): ServerHandshake | undefined {
    const handshake = id === undefined ? this.#handshakes.at(address, port) : this.#handshakes.byConnectionId(id);
    if (handshake === undefined || handshake.usesConnectionId !== (id !== undefined)) return undefined;
    return handshake.address === address && handshake.port === port ? handshake : undefined;
  }

  /** Whether a record is the handshake's. Only a Finished counts before the client is proved; the rest comes again. */
  #proving(handshake: ServerHandshake, record: DtlsRecord, now: number): boolean {
    const { protection, window } = handshake;
    if (protection === undefined || record.epoch !== 1 || record.version !== versions.dtls12) return false;
    const opened = window.fresh(record.sequence) ? protection.open(record) : undefined;
    if (opened === undefined) return false;
    if (opened.type !== contentTypes.handshake) return true;
    window.mark(record.sequence);
    for (const fragment of parseFragments(opened.content) ?? []) {
      this.#follow(handshake, handshake.received(fragment, 1, now), now);
    }
    return true;
  }

  /**
   * A record that neither the handshake's keys nor a session's open. Without keys it is kept for when there are some;
   * with them, a wrong key was used, or none: RFC 4279 §2 has decrypt_error, for an unknown identity too.
   */
  #unproven(handshake: ServerHandshake, record: DtlsRecord): void {
    if (record.epoch !== 1 || record.type === contentTypes.applicationData) this.#deps.counters.bad.add();
    else if (handshake.protection === undefined) {
      if (record.fragment.length > maxEarly) this.#dropped('too_large');
      else handshake.early = copyOf(record);
    } else if (handshake.window.fresh(record.sequence)) {
      this.#deps.counters.bad.add();
      this.#fail(handshake, alerts.decryptError, 'key');
    } else this.#deps.counters.replayed.add();
  }

  #follow(handshake: ServerHandshake, outcome: Outcome, now: number): void {
    switch (outcome.kind) {
      case 'flight':
        this.#transmit(handshake, now);
        break;
      case 'again':
        this.#repeat(handshake, now);
        break;
      case 'proven':
        this.#establish(handshake, outcome.sends, now);
        break;
      case 'failed':
        this.#fail(handshake, outcome.alert, outcome.reason);
        break;
      case 'wait':
        this.#takeEarly(handshake, now);
    }
  }

  #takeEarly(handshake: ServerHandshake, now: number): void {
    const { early, protection } = handshake;
    if (early === undefined || protection === undefined) return;
    handshake.early = undefined;
    this.#proving(handshake, early, now);
  }

  #transmit(handshake: ServerHandshake, now: number): void {
    const datagrams = handshake.render();
    handshake.due = datagrams.length === 0 ? Number.POSITIVE_INFINITY : now + handshake.patience;
    for (const datagram of datagrams) this.#deps.sink.send(datagram, handshake.address, handshake.port);
  }

  #repeat(handshake: ServerHandshake, now: number): void {
    handshake.due = Number.POSITIVE_INFINITY;
    if (handshake.sent >= this.#deps.options.maxRetransmissions) return;
    handshake.sent += 1;
    this.#deps.counters.retransmissions.add();
    this.#transmit(handshake, now);
  }

  /** The client has proved itself: only now does an older session at its place end. */
  #establish(handshake: ServerHandshake, sends: boolean, now: number): void {
    const { options, counters, sink } = this.#deps;
    const { identity, protection, suite, address, port, sessionId } = handshake;
    if (protection === undefined || suite === undefined) return;
    this.#handshakes.remove(handshake);
    (handshake.resumed ? counters.resumed : counters.full).add();
    const datagrams = sends ? handshake.render() : [];
    const master = handshake.takeMaster();
    if (master !== undefined) this.#resumption.put(sessionId, { suite, identity, master, since: now });
    const parts = {
      id: this.#nextId++,
      identity,
      address,
      port,
      protection,
      window: handshake.window,
      sequences: handshake.sequences,
      ownConnectionId: handshake.usesConnectionId ? handshake.ownConnectionId : undefined,
      peerConnectionId: handshake.peerConnectionId,
      sessionId: sessionId.length > 0 ? sessionId : undefined,
      lastFlight: sends ? handshake.lastFlight : undefined,
    };
    handshake.destroy(true);
    this.#established.add(new DtlsSession(parts, now, options.maxRetransmissions));
    for (const datagram of datagrams) sink.send(datagram, address, port);
  }

  #fail(handshake: ServerHandshake, description: number, reason: FailureReason): void {
    const { address, port, sequences } = handshake;
    const content = Buffer.from([alertLevels.fatal, description]);
    const alert = plainRecord(contentTypes.alert, versions.dtls12, sequences.plain++, content);
    this.#deps.sink.send(alert, address, port);
    this.#giveUp(handshake, reason);
  }

  #giveUp(handshake: ServerHandshake, reason: FailureReason): void {
    this.#deps.counters.failed[reason].add();
    this.#remove(handshake);
  }

  #remove(handshake: ServerHandshake): void {
    this.#handshakes.remove(handshake);
    handshake.destroy();
  }

  #dropped(reason: DropReason): void {
    this.#deps.counters.dropped[reason].add();
  }
}

/** Of its own memory: the datagram is not kept for it. */
function copyOf(record: DtlsRecord): DtlsRecord {
  const { fragment, connectionId } = record;
  return {
    ...record,
    fragment: Buffer.from(fragment),
    connectionId: connectionId === undefined ? undefined : Buffer.from(connectionId),
  };
}
