/** Numbers of up to 53 bits, seven bits a byte, the lowest first. */

const scratchBytes = 64 * 1024;

/** Signed to unsigned: 0, -1, 1, -2, … become 0, 1, 2, 3, … */
export function zigzag(value: number): number {
  return value >= 0 ? value * 2 : -value * 2 - 1;
}

function unzigzag(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}

/** Packs numbers into one buffer that is used again and again. */
export class Packer {
  readonly bytes: Buffer = Buffer.allocUnsafeSlow(scratchBytes);
  end = 0;

  byte(value: number): void {
    this.bytes[this.end++] = value;
  }

  number(value: number): void {
    let rest = value;
    while (rest >= 0x10000000) {
      this.bytes[this.end++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    while (rest >= 128) {
      this.bytes[this.end++] = (rest & 127) | 128;
      rest >>>= 7;
    }
    this.bytes[this.end++] = rest;
  }

  signed(value: number): void {
    this.number(zigzag(value));
  }

  /** Four bytes. */
  word(value: number): void {
    this.bytes.writeUInt32LE(value, this.end);
    this.end += 4;
  }

  append(bytes: Uint8Array): void {
    this.bytes.set(bytes, this.end);
    this.end += bytes.length;
  }

  /** What was packed since the last time, as bytes of its own. */
  take(): Buffer {
    const taken = Buffer.from(this.bytes.subarray(0, this.end));
    this.end = 0;
    return taken;
  }
}

/** Reads what a `Packer` packed. Past the end it reads zeros. */
export class Unpacker {
  readonly #bytes: Uint8Array;
  at: number;

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.at = at;
  }

  byte(): number {
    return this.#bytes[this.at++] ?? 0;
  }

  number(): number {
    let byte = this.byte();
    if (byte < 128) return byte;
    let value = byte & 127;
    for (let scale = 128; byte >= 128 && scale < 2 ** 57; scale *= 128) {
      byte = this.byte();
      value += (byte & 127) * scale;
    }
    return value;
  }

  signed(): number {
    return unzigzag(this.number());
  }

  word(): number {
    return (this.byte() | (this.byte() << 8) | (this.byte() << 16) | (this.byte() << 24)) >>> 0;
  }
}
