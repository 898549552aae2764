import type { Client } from 'aedes';

/** What is gathered is written at once beyond this, bytes. */
const maxGathered = 16 * 1024;
/** A part above this is written as it is, not copied. */
const maxCopied = 8 * 1024;

interface Connection {
  readonly destroyed: boolean;
  write(bytes: Uint8Array): boolean;
  cork(): void;
  uncork(): void;
}

interface ClientInside {
  readonly closed: boolean;
  readonly errored: boolean;
  readonly conn: Connection;
  waitForDrain(done: () => void): void;
}

/** Packets for one client, gathered and written together. */
export class Outbox {
  readonly #client: ClientInside;
  #parts: Uint8Array[] = [];
  /** For each part: where a packet identifier goes in it, times 65,536, and that identifier; 0 for none. */
  #identifiers: number[] = [];
  #bytes = 0;
  #draining = false;

  constructor(client: Client) {
    this.#client = client as unknown as ClientInside;
  }

  /** Adds bytes that will not change; they are sent with `identifier` at `at`, where there is one. */
  push(part: Uint8Array, at = 0, identifier = 0): void {
    this.#parts.push(part);
    this.#identifiers.push(at * 65_536 + identifier);
    this.#bytes += part.length;
    if (this.#bytes >= maxGathered) this.flush();
  }

  /** Writes what was gathered. A client that takes none of it for too long is let go by aedes. */
  flush(): void {
    if (this.#parts.length === 0) return;
    const parts = this.#parts;
    const identifiers = this.#identifiers;
    this.#parts = [];
    this.#identifiers = [];
    this.#bytes = 0;
    const { conn, closed, errored } = this.#client;
    if (closed || errored || conn.destroyed) return;
    const chunks = join(parts, identifiers);
    if (chunks.length > 1) conn.cork();
    let room = true;
    for (const chunk of chunks) room = conn.write(chunk);
    if (chunks.length > 1) conn.uncork();
    if (room || this.#draining) return;
    this.#draining = true;
    this.#client.waitForDrain(() => {
      this.#draining = false;
    });
  }
}

/** The parts with their identifiers, those that are small in one piece. */
function join(parts: readonly Uint8Array[], identifiers: readonly number[]): Uint8Array[] {
  const isLarge = (at: number): boolean => identifiers[at] === 0 && (parts[at]?.length ?? 0) > maxCopied;
  const chunks: Uint8Array[] = [];
  for (let from = 0; from < parts.length; ) {
    const first = parts[from];
    if (first !== undefined && isLarge(from)) {
      chunks.push(first);
      from += 1;
      continue;
    }
    let length = 0;
    let to = from;
    for (; to < parts.length && !isLarge(to); to++) length += parts[to]?.length ?? 0;
    const joined = Buffer.allocUnsafe(length);
    let at = 0;
    for (; from < to; from++) {
      const part = parts[from] ?? nothing;
      const identifier = identifiers[from] ?? 0;
      joined.set(part, at);
      if (identifier > 0) joined.writeUInt16BE(identifier % 65_536, at + Math.floor(identifier / 65_536));
      at += part.length;
    }
    chunks.push(joined);
  }
  return chunks;
}

const nothing = new Uint8Array(0);
