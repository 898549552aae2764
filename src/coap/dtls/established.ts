import type { DtlsCounters } from './counters.ts';
import { parseFragments } from './fragments.ts';
import type { DtlsOptions } from './options.ts';
import { alertLevels, alerts, contentTypes, handshakeTypes } from './protocol.ts';
import { type DtlsRecord, maxPlaintext } from './record.ts';
import type { ResumptionCache } from './resumption.ts';
import type { DtlsSession, SessionEnd } from './session.ts';
import { SessionTable } from './session-table.ts';

/** What the server causes. */
export interface DtlsSink {
  send(datagram: Buffer, address: string, port: number): void;
  received(content: Buffer, session: DtlsSession): void;
  ended(session: DtlsSession, reason: SessionEnd): void;
}

export interface EstablishedDeps {
  readonly options: DtlsOptions;
  readonly sink: DtlsSink;
  readonly counters: DtlsCounters;
  readonly resumption: ResumptionCache;
}

/** The sessions whose peers have proved themselves, and what their records lead to. */
export class EstablishedSessions {
  readonly #deps: EstablishedDeps;
  readonly #table: SessionTable;

  constructor(deps: EstablishedDeps) {
    this.#deps = deps;
    this.#table = new SessionTable(deps.options);
  }

  get size(): number {
    return this.#table.size;
  }

  /** The session that a record is of, by our connection id in it, or else by where it came from. */
  find(connectionId: string | undefined, address: string, port: number): DtlsSession | undefined {
    return connectionId === undefined ? this.#table.at(address, port) : this.#table.byConnectionId(connectionId);
  }

  /** Takes a session in; the one that it replaces ends, and those for which there is no room any more. */
  add(session: DtlsSession): void {
    const { address, port, identity } = session;
    const former = this.#table.formerAt(address, port, identity);
    if (former !== undefined) this.#end(former, 'replaced');
    for (const one of this.#table.excess(address, identity)) {
      this.#deps.counters.displaced.add();
      this.#end(one, 'displaced');
    }
    this.#table.add(session);
  }

  /** A datagram of its own; nothing once the session has ended, or where it is too large. */
  send(session: DtlsSession, content: Uint8Array): void {
    if (session.ended) return;
    if (content.length > maxPlaintext) this.#deps.counters.dropped.too_large.add();
    else this.#deps.sink.send(session.seal(contentTypes.applicationData, content), session.address, session.port);
  }

  /** A record that may be the session's; whether it is, or was before. */
  received(session: DtlsSession, record: DtlsRecord, address: string, port: number, now: number): boolean {
    const { counters, sink } = this.#deps;
    const opened = session.open(record);
    if (opened === 'replayed') counters.replayed.add();
    if (opened === 'bad') counters.bad.add();
    if (opened === 'replayed' || opened === 'bad') return opened === 'replayed';
    this.#table.touch(session, now);
    // RFC 9146 §6: authentic, with our connection id, and newer than all before
    if (record.connectionId !== undefined && opened.newest) this.#locate(session, address, port);
    const { type, content } = opened;
    if (type === contentTypes.applicationData) {
      session.settled();
      if (content.length > 0) sink.received(content, session);
    } else if (type === contentTypes.alert) this.#alerted(session, content);
    else if (type === contentTypes.handshake) this.#handshake(session, content);
    return true;
  }

  /** Ends what was silent too long. */
  sweep(now: number): void {
    const since = now - this.#deps.options.sessionIdle;
    for (const session of [...this.#table.silentSince(since)]) this.#end(session, 'idle');
  }

  revoke(identity: string): void {
    for (const session of this.#table.ofIdentity(identity)) this.#end(session, 'key_removed');
  }

  close(): void {
    for (const session of this.#table.all()) this.#end(session, 'stopped');
  }

  #locate(session: DtlsSession, address: string, port: number): void {
    if (session.address === address && session.port === port) return;
    this.#table.move(session, address, port);
    this.#deps.counters.moved.add();
  }

  #alerted(session: DtlsSession, content: Buffer): void {
    if (content.length !== 2) return;
    if (content[1] === alerts.closeNotify) this.#end(session, 'closed');
    else if (content[0] === alertLevels.fatal) {
      if (session.sessionId !== undefined) this.#deps.resumption.remove(session.sessionId);
      this.#end(session, 'alert');
    }
  }

  /** The client's Finished again: ours was lost. A ClientHello: renegotiation, which is refused (RFC 5246 §7.2.2). */
  #handshake(session: DtlsSession, content: Buffer): void {
    const { sink, options, counters } = this.#deps;
    const [fragment] = parseFragments(content) ?? [];
    if (fragment?.type === handshakeTypes.finished && fragment.offset === 0) {
      const datagrams = session.repeatLastFlight(options.maxHandshakeDatagram);
      if (datagrams.length > 0) counters.retransmissions.add();
      for (const datagram of datagrams) sink.send(datagram, session.address, session.port);
    } else if (fragment?.type === handshakeTypes.clientHello) {
      this.#alert(session, alertLevels.warning, alerts.noRenegotiation);
    }
  }

  #alert(session: DtlsSession, level: number, description: number): void {
    const record = session.seal(contentTypes.alert, Buffer.from([level, description]));
    this.#deps.sink.send(record, session.address, session.port);
  }

  #end(session: DtlsSession, reason: SessionEnd): void {
    if (session.ended) return;
    // one that was replaced or has failed has nobody who could read it
    if (reason !== 'replaced' && reason !== 'alert') this.#alert(session, alertLevels.warning, alerts.closeNotify);
    this.#table.remove(session);
    session.destroy();
    this.#deps.sink.ended(session, reason);
  }
}
