/** The value of a Block1 or Block2 option, RFC 7959 §2.2. */
export interface Block {
  /** Block number, 20 bits. */
  readonly num: number;
  readonly more: boolean;
  /** The block's size is 2^(szx + 4) bytes; 0 to 6. */
  readonly szx: number;
}

/** The block of an option's integer; undefined for the reserved SZX 7. */
export function blockOf(value: number): Block | undefined {
  const szx = value & 7;
  return szx === 7 ? undefined : { num: value >>> 4, more: (value & 8) !== 0, szx };
}

/** The integer of a block option. */
export function blockValue(num: number, more: boolean, szx: number): number {
  return num * 16 + (more ? 8 : 0) + szx;
}

/** Bytes of a block. */
export function blockBytes(szx: number): number {
  return 16 << szx;
}

/** The largest SZX whose block is at most `bytes`; 0 for anything under 32. */
export function szxOf(bytes: number): number {
  return Math.max(0, Math.min(6, Math.floor(Math.log2(bytes)) - 4));
}
