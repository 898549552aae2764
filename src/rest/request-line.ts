/**
 * Makes request lines digestible for node:http, which takes no bare space and no byte above 0x7F in a URL: what people
 * type after `curl` has both. In the query, a space becomes `%20` unless it is the last one (before the version); bytes
 * above 0x7F are percent-encoded wherever they stand in the URL. Everything else passes as it is.
 *
 * Only the first line of a request is looked at: after it bytes pass until `nextRequest` says that another one begins.
 * Nothing waits but what stands behind a space: up to `maxHeld` bytes of it.
 */
export class RequestLineRepair {
  readonly #maxHeld: number;
  #state: 'start' | 'method' | 'path' | 'query' | 'through' = 'start';
  #method = '';
  /** What follows a space in the query that may be the last one. */
  #held: string | undefined;

  constructor(maxHeld = 16_384) {
    this.#maxHeld = maxHeld;
  }

  /** The request before is over: its bytes have all passed. */
  nextRequest(): void {
    this.#state = 'start';
    this.#method = '';
    this.#held = undefined;
  }

  /** What goes on to the parser. */
  push(chunk: Buffer): Buffer {
    if (this.#state === 'through') return chunk;
    if (this.#state === 'start' && usual(chunk)) {
      this.#state = 'through';
      return chunk;
    }
    let out = '';
    let at = 0;
    while (at < chunk.length && !this.#passing()) out += this.#byte(chunk[at++] ?? 0);
    const rest = chunk.subarray(at);
    const line = Buffer.from(out, 'latin1');
    return rest.length === 0 ? line : Buffer.concat([line, rest]);
  }

  #passing(): boolean {
    return this.#state === 'through';
  }

  #byte(byte: number): string {
    const char = String.fromCharCode(byte);
    if (this.#state === 'start') {
      // RFC 9112 §2.2: empty lines before a request are passed over
      if (char === '\r' || char === '\n') return char;
      this.#state = 'method';
    }
    if (this.#state === 'method') {
      this.#method += char;
      if (char === ' ') this.#state = this.#method === 'GET ' ? 'path' : 'through';
      else if (this.#method.length > 3 || byte < 0x41 || byte > 0x5a) this.#state = 'through';
      return char;
    }
    if (byte === 0x0a) {
      this.#state = 'through';
      return this.#release(char);
    }
    if (this.#state === 'path') {
      if (char === '?') this.#state = 'query';
      else if (char === ' ') this.#state = 'through';
      return encoded(byte, char);
    }
    return this.#inQuery(byte, char);
  }

  #inQuery(byte: number, char: string): string {
    if (char === ' ') {
      const before = this.#held === undefined ? '' : `%20${this.#held}`;
      this.#held = '';
      return before;
    }
    if (this.#held === undefined) return encoded(byte, char);
    this.#held += encoded(byte, char);
    if (this.#held.length <= this.#maxHeld) return '';
    this.#state = 'through';
    return this.#release('');
  }

  #release(char: string): string {
    const held = this.#held === undefined ? '' : ` ${this.#held}`;
    this.#held = undefined;
    return held + char;
  }
}

/** A chunk that begins with a whole request line in which there is nothing to repair. */
function usual(chunk: Buffer): boolean {
  const end = chunk.indexOf(0x0a);
  return end !== -1 && /^[A-Z]+ [\x21-\x7e]+ HTTP\/1\.[01]\r$/.test(chunk.toString('latin1', 0, end));
}

function encoded(byte: number, char: string): string {
  return byte < 0x80 ? char : `%${byte.toString(16).toUpperCase()}`;
}
