import type { DtlsSession } from './session.ts';

/** Precision of the order in which sessions were last seen, milliseconds: saves work for each record. */
const touchEvery = 1_000;

export interface SessionBounds {
  readonly maxSessions: number;
  readonly maxSessionsPerAddress: number;
  readonly maxSessionsPerIdentity: number;
}

/** The established sessions: by where they are, by connection id, and in the order in which they were last seen. */
export class SessionTable {
  readonly #bounds: SessionBounds;
  readonly #recent = new Set<DtlsSession>();
  /** The last session at an address and port, with a connection id or without. */
  readonly #at = new Map<string, DtlsSession>();
  readonly #byConnectionId = new Map<string, DtlsSession>();
  readonly #ofAddress = new Map<string, Set<DtlsSession>>();
  readonly #ofIdentity = new Map<string | undefined, Set<DtlsSession>>();

  constructor(bounds: SessionBounds) {
    this.#bounds = bounds;
  }

  get size(): number {
    return this.#recent.size;
  }

  /** The session whose records carry no connection id; RFC 9146 §3: another one is not found by its address. */
  at(address: string, port: number): DtlsSession | undefined {
    const session = this.#at.get(placeOf(address, port));
    return session?.ownConnectionId === undefined ? session : undefined;
  }

  byConnectionId(id: string): DtlsSession | undefined {
    return this.#byConnectionId.get(id);
  }

  ofIdentity(identity: string | undefined): readonly DtlsSession[] {
    return [...(this.#ofIdentity.get(identity) ?? [])];
  }

  /**
   * The session that a new one of `identity` at that place takes the place of: one without a connection id, since there
   * can be one at a place; one with an id only where it is the same device's.
   */
  formerAt(address: string, port: number, identity: string | undefined): DtlsSession | undefined {
    const former = this.#at.get(placeOf(address, port));
    return former?.ownConnectionId === undefined || (identity !== undefined && former.identity === identity)
      ? former
      : undefined;
  }

  /** The sessions that give way so that one more has room. */
  excess(address: string, identity: string | undefined): DtlsSession[] {
    const { maxSessions, maxSessionsPerAddress, maxSessionsPerIdentity } = this.#bounds;
    const leaving = new Set<DtlsSession>();
    for (const [group, bound] of [
      [identity === undefined ? undefined : this.#ofIdentity.get(identity), maxSessionsPerIdentity],
      [this.#ofAddress.get(address), maxSessionsPerAddress],
      [this.#recent, maxSessions],
    ] as const) {
      const over = (group?.size ?? 0) + 1 - bound;
      let found = 0;
      for (const session of over > 0 ? (group ?? []) : []) {
        if (found++ >= over) break;
        leaving.add(session);
      }
    }
    return [...leaving];
  }

  add(session: DtlsSession): void {
    this.#recent.add(session);
    this.#place(session);
    if (session.ownConnectionId !== undefined) this.#byConnectionId.set(session.ownConnectionId, session);
    put(this.#ofAddress, session.address, session);
    put(this.#ofIdentity, session.identity, session);
  }

  remove(session: DtlsSession): void {
    this.#recent.delete(session);
    this.#displace(session);
    if (session.ownConnectionId !== undefined) this.#byConnectionId.delete(session.ownConnectionId);
    take(this.#ofAddress, session.address, session);
    take(this.#ofIdentity, session.identity, session);
  }

  /** An authentic record came. */
  touch(session: DtlsSession, now: number): void {
    if (now - session.lastSeen < touchEvery) return;
    session.lastSeen = now;
    for (const group of [this.#recent, this.#ofAddress.get(session.address), this.#ofIdentity.get(session.identity)]) {
      group?.delete(session);
      group?.add(session);
    }
  }

  move(session: DtlsSession, address: string, port: number): void {
    this.#displace(session);
    take(this.#ofAddress, session.address, session);
    session.address = address;
    session.port = port;
    this.#place(session);
    put(this.#ofAddress, address, session);
  }

  /** The ones that were last seen before `time`, the longest ago first. */
  *silentSince(time: number): Generator<DtlsSession> {
    for (const session of this.#recent) {
      if (session.lastSeen >= time) return;
      yield session;
    }
  }

  all(): readonly DtlsSession[] {
    return [...this.#recent];
  }

  /** A session without a connection id is found by its place alone: one with an id does not hide it. */
  #place(session: DtlsSession): void {
    const place = placeOf(session.address, session.port);
    const there = this.#at.get(place);
    if (session.ownConnectionId === undefined || there?.ownConnectionId !== undefined || there === undefined) {
      this.#at.set(place, session);
    }
  }

  #displace(session: DtlsSession): void {
    const place = placeOf(session.address, session.port);
    if (this.#at.get(place) === session) this.#at.delete(place);
  }
}

export function placeOf(address: string, port: number): string {
  return `${address}|${port}`;
}

function put<Key>(groups: Map<Key, Set<DtlsSession>>, key: Key, session: DtlsSession): void {
  const group = groups.get(key);
  if (group === undefined) groups.set(key, new Set([session]));
  else group.add(session);
}

function take<Key>(groups: Map<Key, Set<DtlsSession>>, key: Key, session: DtlsSession): void {
  const group = groups.get(key);
  group?.delete(session);
  if (group?.size === 0) groups.delete(key);
}
