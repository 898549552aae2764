/**
 * Packet identifiers 1 to `count`, for mqtt.js. The range is kept small on purpose: a QoS 2 exchange that a crash cut
 * short leaves its identifier taken at the broker, and all of so few can be released when a session is resumed.
 */
export class PacketIds {
  readonly #count: number;
  #free: number[] = [];
  #taken: Uint8Array;
  #last = 0;

  constructor(count: number) {
    this.#count = Math.min(count, 65_535);
    this.#taken = new Uint8Array(this.#count + 1);
    this.clear();
  }

  /** A free identifier, or null (as mqtt.js expects) where all are taken. */
  allocate(): number | null {
    for (let id = this.#free.pop(); id !== undefined; id = this.#free.pop()) {
      if (this.#taken[id] === 1) continue;
      this.#taken[id] = 1;
      this.#last = id;
      return id;
    }
    return null;
  }

  getLastAllocated(): number {
    return this.#last;
  }

  /** Takes a particular identifier; false where it is taken or out of range. */
  register(id: number): boolean {
    if (id < 1 || id > this.#count || this.#taken[id] === 1) return false;
    this.#taken[id] = 1;
    return true;
  }

  deallocate(id: number): void {
    if (this.#taken[id] !== 1) return;
    this.#taken[id] = 0;
    this.#free.push(id);
  }

  clear(): void {
    this.#taken.fill(0);
    this.#free = Array.from({ length: this.#count }, (_, at) => this.#count - at);
  }
}
