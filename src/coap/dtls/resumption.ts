import type { CipherSuite } from './suites.ts';

/** What a session can be resumed from, RFC 5246 §7.3. Only sessions with the extended master secret (RFC 7627 §5.3). */
export interface Resumable {
  readonly suite: CipherSuite;
  readonly identity: string | undefined;
  readonly master: Buffer;
  /** Monotonic time of the full handshake, milliseconds. */
  readonly since: number;
}

/** Sessions by their id: bounded, the one used longest ago gives way, none is kept beyond its time. */
export class ResumptionCache {
  readonly #capacity: number;
  readonly #lifetime: number;
  readonly #byId = new Map<string, Resumable>();

  constructor(capacity: number, lifetime: number) {
    this.#capacity = capacity;
    this.#lifetime = lifetime;
  }

  get size(): number {
    return this.#byId.size;
  }

  find(sessionId: Buffer, now: number): Resumable | undefined {
    if (sessionId.length === 0) return undefined;
    const id = sessionId.toString('latin1');
    const found = this.#byId.get(id);
    if (found === undefined) return undefined;
    this.#byId.delete(id);
    if (now - found.since >= this.#lifetime) {
      found.master.fill(0);
      return undefined;
    }
    this.#byId.set(id, found);
    return found;
  }

  /** Takes `session.master` over. */
  put(sessionId: Buffer, session: Resumable): void {
    if (this.#capacity === 0) return;
    this.#byId.set(sessionId.toString('latin1'), session);
    const [oldest] = this.#byId.keys();
    if (this.#byId.size > this.#capacity && oldest !== undefined) this.#forget(oldest);
  }

  /** RFC 5246 §7.2.2: a session that ended with a fatal alert is not resumed. */
  remove(sessionId: Buffer): void {
    this.#forget(sessionId.toString('latin1'));
  }

  /** Drops what is too old, and what `stays` is not true of. */
  sweep(now: number, stays: (identity: string | undefined) => boolean = () => true): void {
    for (const [id, { identity, since }] of this.#byId) {
      if (now - since >= this.#lifetime || !stays(identity)) this.#forget(id);
    }
  }

  clear(): void {
    for (const id of [...this.#byId.keys()]) this.#forget(id);
  }

  #forget(id: string): void {
    this.#byId.get(id)?.master.fill(0);
    this.#byId.delete(id);
  }
}
