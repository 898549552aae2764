import type { TransportSession } from '../transport.ts';
import { type FlightItem, renderFlight, type Sequences } from './flight.ts';
import type { Opened, RecordProtection } from './protection.ts';
import { versions } from './protocol.ts';
import type { DtlsRecord } from './record.ts';
import type { ReplayWindow } from './replay-window.ts';

/** Why a session ended. */
export type SessionEnd = 'closed' | 'alert' | 'idle' | 'replaced' | 'displaced' | 'key_removed' | 'stopped';

export interface SessionParts {
  readonly id: number;
  readonly identity: string | undefined;
  readonly address: string;
  readonly port: number;
  readonly protection: RecordProtection;
  readonly window: ReplayWindow;
  readonly sequences: Sequences;
  /** Ours; undefined where none was negotiated. */
  readonly ownConnectionId: Buffer | undefined;
  /** The peer's; undefined also where it is empty. */
  readonly peerConnectionId: Buffer | undefined;
  /** Undefined where it is not to be resumed. */
  readonly sessionId: Buffer | undefined;
  readonly lastFlight: readonly FlightItem[] | undefined;
}

/** An established session. */
export class DtlsSession implements TransportSession {
  readonly id: number;
  readonly identity: string | undefined;
  readonly ownConnectionId: string | undefined;
  readonly sessionId: Buffer | undefined;
  address: string;
  port: number;
  ended = false;
  /** Monotonic time of the last authentic record, milliseconds. */
  lastSeen: number;
  /** Times that our last flight may still be sent again. */
  repeats: number;
  readonly #protection: RecordProtection;
  readonly #window: ReplayWindow;
  readonly #sequences: Sequences;
  readonly #peerConnectionId: Buffer | undefined;
  /** Until the client shows that it has it. */
  #lastFlight: readonly FlightItem[] | undefined;

  constructor(parts: SessionParts, now: number, repeats: number) {
    this.id = parts.id;
    this.identity = parts.identity;
    this.address = parts.address;
    this.port = parts.port;
    this.ownConnectionId = parts.ownConnectionId?.toString('latin1');
    this.sessionId = parts.sessionId;
    this.lastSeen = now;
    this.repeats = repeats;
    this.#protection = parts.protection;
    this.#window = parts.window;
    this.#sequences = parts.sequences;
    this.#peerConnectionId = parts.peerConnectionId;
    this.#lastFlight = parts.lastFlight;
  }

  seal(type: number, content: Uint8Array): Buffer {
    return this.#protection.seal(type, 1, this.#sequences.sealed++, content, this.#peerConnectionId);
  }

  /** What is in a record; `newest`: no later one was seen. Each is opened once. */
  open(record: DtlsRecord): (Opened & { readonly newest: boolean }) | 'replayed' | 'bad' {
    if (record.epoch !== 1 || record.version !== versions.dtls12) return 'bad';
    if (!this.#window.fresh(record.sequence)) return 'replayed';
    const opened = this.#protection.open(record);
    if (opened === undefined) return 'bad';
    const newest = record.sequence > this.#window.highest;
    this.#window.mark(record.sequence);
    return { type: opened.type, content: opened.content, newest };
  }

  /** Our ChangeCipherSpec and Finished once more, for a client that sent its own again (RFC 6347 §4.2.4). */
  repeatLastFlight(maxDatagram: number): Buffer[] {
    if (this.#lastFlight === undefined || this.repeats === 0) return [];
    this.repeats -= 1;
    const sealed = { protection: this.#protection, connectionId: this.#peerConnectionId };
    return renderFlight(this.#lastFlight, this.#sequences, maxDatagram, sealed);
  }

  /** The client has our last flight: it need not be kept. */
  settled(): void {
    this.#lastFlight = undefined;
  }

  destroy(): void {
    this.ended = true;
    this.#protection.destroy();
  }
}
