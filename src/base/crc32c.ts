/** CRC-32C (Castagnoli), RFC 3720 appendix B.4: the checksum of records and chunks. */

const polynomial = 0x82f63b78;

function makeTables(): readonly Uint32Array[] {
  const tables = Array.from({ length: 4 }, () => new Uint32Array(256));
  const [t0, t1, t2, t3] = tables as [Uint32Array, Uint32Array, Uint32Array, Uint32Array];
  for (let i = 0; i < 256; i++) {
    let crc = i;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ polynomial : crc >>> 1;
    t0[i] = crc >>> 0;
  }
  for (let i = 0; i < 256; i++) {
    t1[i] = ((t0[i] as number) >>> 8) ^ (t0[(t0[i] as number) & 0xff] as number);
    t2[i] = ((t1[i] as number) >>> 8) ^ (t0[(t1[i] as number) & 0xff] as number);
    t3[i] = ((t2[i] as number) >>> 8) ^ (t0[(t2[i] as number) & 0xff] as number);
  }
  return tables;
}

const [table0, table1, table2, table3] = makeTables() as [Uint32Array, Uint32Array, Uint32Array, Uint32Array];

/** The CRC-32C of `bytes[start, end)`, an unsigned 32-bit number. */
export function crc32c(bytes: Uint8Array, start = 0, end = bytes.length): number {
  let crc = 0xffffffff;
  let at = start;
  for (const last = end - 3; at < last; at += 4) {
    crc ^=
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    crc =
      (table3[crc & 0xff] as number) ^
      (table2[(crc >>> 8) & 0xff] as number) ^
      (table1[(crc >>> 16) & 0xff] as number) ^
      (table0[crc >>> 24] as number);
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ (table0[(crc ^ (bytes[at] as number)) & 0xff] as number);
  return (crc ^ 0xffffffff) >>> 0;
}
