/**
 * An ELF file without its symbol table and debug sections: what no program header maps into memory. `strip` of binutils
 * does the same, but only for its own architecture, and not to the same bytes in every version.
 * @throws Error where the file is not laid out as linkers do it: what is loaded first, the rest behind.
 */
export function strip(elf) {
  if (elf.readUInt32BE(0) !== 0x7f454c46 || elf[5] !== 1) throw new Error('not a little-endian ELF file');
  const is64 = elf[4] === 2;
  const offset = (at) => (is64 ? Number(elf.readBigUInt64LE(at)) : elf.readUInt32LE(at));
  const [headersAt, headerSize, count, namesIndex] = is64
    ? [offset(0x28), elf.readUInt16LE(0x3a), elf.readUInt16LE(0x3c), elf.readUInt16LE(0x3e)]
    : [offset(0x20), elf.readUInt16LE(0x2e), elf.readUInt16LE(0x30), elf.readUInt16LE(0x32)];
  const sections = Array.from({ length: count }, (_, index) => {
    const header = Buffer.from(elf.subarray(headersAt + index * headerSize, headersAt + (index + 1) * headerSize));
    const word = (at64, at32) => (is64 ? Number(header.readBigUInt64LE(at64)) : header.readUInt32LE(at32));
    const type = header.readUInt32LE(4);
    return { header, type, loaded: (word(0x08, 0x08) & 2) !== 0, at: word(0x18, 0x10), size: word(0x20, 0x14) };
  });
  const names = sections[namesIndex];
  const firstOther = sections.findIndex(({ loaded }, index) => index > 0 && !loaded);
  if (names === undefined || firstOther === -1) throw new Error('no section headers');
  const kept = sections.slice(0, firstOther);
  if (sections.slice(firstOther).some(({ loaded }) => loaded))
    throw new Error('a loaded section behind one that is not');

  const nobits = 8;
  const end = Math.max(...kept.map(({ type, at, size }) => at + (type === nobits ? 0 : size)), programEnd(elf, is64));
  // the names stay as they are: those of sections that are gone cost a few hundred bytes
  const namesText = elf.subarray(names.at, names.at + names.size);
  const namesHeader = Buffer.from(names.header);
  const tableAt = align(end + namesText.length, 8);
  const result = Buffer.alloc(tableAt + (kept.length + 1) * headerSize);
  elf.copy(result, 0, 0, end);
  namesText.copy(result, end);
  for (const [index, { header }] of kept.entries()) header.copy(result, tableAt + index * headerSize);
  if (is64) {
    namesHeader.writeBigUInt64LE(BigInt(end), 0x18);
    result.writeBigUInt64LE(BigInt(tableAt), 0x28);
  } else {
    namesHeader.writeUInt32LE(end, 0x10);
    result.writeUInt32LE(tableAt, 0x20);
  }
  namesHeader.copy(result, tableAt + kept.length * headerSize);
  result.writeUInt16LE(kept.length + 1, is64 ? 0x3c : 0x30);
  result.writeUInt16LE(kept.length, is64 ? 0x3e : 0x32);
  return result;
}

/** The end of what the program headers map. */
function programEnd(elf, is64) {
  const [at, size, count] = is64
    ? [Number(elf.readBigUInt64LE(0x20)), elf.readUInt16LE(0x36), elf.readUInt16LE(0x38)]
    : [elf.readUInt32LE(0x1c), elf.readUInt16LE(0x2a), elf.readUInt16LE(0x2c)];
  const ends = Array.from({ length: count }, (_, index) => {
    const header = at + index * size;
    return is64
      ? Number(elf.readBigUInt64LE(header + 0x08)) + Number(elf.readBigUInt64LE(header + 0x20))
      : elf.readUInt32LE(header + 0x04) + elf.readUInt32LE(header + 0x10);
  });
  return Math.max(at + size * count, ...ends);
}

function align(value, to) {
  return Math.ceil(value / to) * to;
}
