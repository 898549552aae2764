/** Where a socket is bound. */
export interface SocketAddress {
  /** An IP literal without brackets. */
  readonly address: string;
  readonly port: number;
}

/**
 * The local address of the socket with this inode in a table such as /proc/net/udp; undefined where it is not there. The
 * kernel writes an address as 32-bit words in the machine's byte order, little-endian on all that this runs on.
 */
export function socketAddress(table: string, inode: string): SocketAddress | undefined {
  for (const line of table.split('\n').slice(1)) {
    const fields = line.trim().split(/\s+/);
    const local = /^([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})$/.exec(fields[1] ?? '');
    if (fields[9] !== inode || local?.[1] === undefined || local[2] === undefined) continue;
    const bytes = Buffer.from(local[1], 'hex').swap32();
    return { address: bytes.length === 4 ? bytes.join('.') : ipv6(bytes), port: Number.parseInt(local[2], 16) };
  }
  return undefined;
}

/** As a URL has it: the shortest form, lower case. */
function ipv6(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, at) => bytes.readUInt16BE(at * 2).toString(16));
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}
