import type { ServerHandshake } from './handshake.ts';
import { placeOf } from './session-table.ts';

/** The handshakes that go on: one per address and port, the oldest first. */
export class HandshakeTable {
  readonly #at = new Map<string, ServerHandshake>();
  readonly #byConnectionId = new Map<string, ServerHandshake>();
  readonly #perAddress = new Map<string, number>();

  get size(): number {
    return this.#at.size;
  }

  at(address: string, port: number): ServerHandshake | undefined {
    return this.#at.get(placeOf(address, port));
  }

  byConnectionId(id: string): ServerHandshake | undefined {
    return this.#byConnectionId.get(id);
  }

  all(): Iterable<ServerHandshake> {
    return this.#at.values();
  }

  add(handshake: ServerHandshake): void {
    const { address, port } = handshake;
    this.#at.set(placeOf(address, port), handshake);
    this.#byConnectionId.set(handshake.ownConnectionId.toString('latin1'), handshake);
    this.#perAddress.set(address, (this.#perAddress.get(address) ?? 0) + 1);
  }

  remove(handshake: ServerHandshake): void {
    const { address, port } = handshake;
    if (!this.#at.delete(placeOf(address, port))) return;
    this.#byConnectionId.delete(handshake.ownConnectionId.toString('latin1'));
    const left = (this.#perAddress.get(address) ?? 1) - 1;
    if (left === 0) this.#perAddress.delete(address);
    else this.#perAddress.set(address, left);
  }

  /** The oldest one from that address, or of all, where one more would be too many. */
  excess(address: string, maxPerAddress: number, max: number): ServerHandshake | undefined {
    if ((this.#perAddress.get(address) ?? 0) >= maxPerAddress) {
      for (const one of this.#at.values()) if (one.address === address) return one;
    }
    if (this.#at.size < max) return undefined;
    for (const one of this.#at.values()) return one;
    return undefined;
  }
}
