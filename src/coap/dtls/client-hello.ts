import { extensions, randomLength, renegotiationScsv, versions } from './protocol.ts';

/** The part of a ClientHello up to its cookie, which a first fragment has whole. RFC 6347 §4.2.1. */
export interface HelloPrefix {
  readonly version: number;
  readonly random: Buffer;
  readonly sessionId: Buffer;
  readonly cookie: Buffer;
  /** Bytes read so far. */
  readonly end: number;
}

export interface ClientHello extends HelloPrefix {
  readonly suites: readonly number[];
  readonly compressions: Buffer;
  readonly extendedMasterSecret: boolean;
  /** The client's connection id, which may be empty; undefined where it offered none. */
  readonly connectionId: Buffer | undefined;
  /** RFC 5746: `none`, `offered` (by the SCSV or an empty extension), or `bad` in a first handshake. */
  readonly renegotiation: 'none' | 'offered' | 'bad';
  /** Of supported_groups and signature_algorithms; undefined where they are absent. */
  readonly groups: readonly number[] | undefined;
  readonly signatures: readonly number[] | undefined;
  readonly pointFormats: boolean;
  /** Of supported_versions; undefined where it is absent. */
  readonly supportedVersions: readonly number[] | undefined;
}

/** undefined where it is malformed or cut off before the cookie's end. */
export function parseHelloPrefix(body: Buffer): HelloPrefix | undefined {
  const reader = new Reader(body);
  const version = reader.uint16();
  const random = reader.bytes(randomLength);
  const sessionId = reader.vector8();
  const cookie = reader.vector8();
  if (version === undefined || random === undefined || sessionId === undefined || cookie === undefined)
    return undefined;
  if (sessionId.length > 32) return undefined;
  return { version, random, sessionId, cookie, end: reader.at };
}

/** undefined where it is malformed: RFC 5246 §7.4.1.2. */
export function parseClientHello(body: Buffer): ClientHello | undefined {
  const prefix = parseHelloPrefix(body);
  if (prefix === undefined) return undefined;
  const reader = new Reader(body, prefix.end);
  const suiteBytes = reader.vector16();
  const compressions = reader.vector8();
  if (suiteBytes === undefined || suiteBytes.length < 2 || suiteBytes.length % 2 !== 0) return undefined;
  if (compressions === undefined || compressions.length === 0) return undefined;
  const suites = uint16s(suiteBytes);
  const offered = reader.done ? new Map<number, Buffer>() : parseExtensions(reader);
  if (offered === undefined || !reader.done) return undefined;
  const renegotiation = offered.get(extensions.renegotiationInfo);
  const given = offered.get(extensions.connectionId);
  const connectionId = given === undefined ? undefined : whole(new Reader(given), (it) => it.vector8());
  const versionList = offered.get(extensions.supportedVersions);
  const listed = versionList === undefined ? undefined : whole(new Reader(versionList), (it) => it.vector8());
  const ems = offered.get(extensions.extendedMasterSecret);
  if (given !== undefined && connectionId === undefined) return undefined;
  if (versionList !== undefined && (listed === undefined || listed.length % 2 !== 0)) return undefined;
  if (ems !== undefined && ems.length > 0) return undefined;
  const [groups, signatures] = [extensions.supportedGroups, extensions.signatureAlgorithms].map((type) => {
    const data = offered.get(type);
    const list = data === undefined ? undefined : whole(new Reader(data), (it) => it.vector16());
    return list === undefined ? undefined : uint16s(list);
  });
  return {
    ...prefix,
    suites,
    compressions,
    extendedMasterSecret: ems !== undefined,
    connectionId,
    renegotiation: renegotiationOf(renegotiation, suites),
    groups,
    signatures,
    pointFormats: offered.has(extensions.ecPointFormats),
    supportedVersions: listed === undefined ? undefined : uint16s(listed),
  };
}

/** Whether DTLS 1.2 is among the versions that it offers. A version below in number is a later one. */
export function offersDtls12({ version, supportedVersions }: ClientHello): boolean {
  if (supportedVersions !== undefined) return supportedVersions.includes(versions.dtls12);
  return version >>> 8 === 0xfe && version <= versions.dtls12;
}

function renegotiationOf(extension: Buffer | undefined, suites: readonly number[]): ClientHello['renegotiation'] {
  // RFC 5746 §3.6: one zero byte, an empty renegotiated_connection
  if (extension !== undefined) return extension.length === 1 && extension[0] === 0 ? 'offered' : 'bad';
  return suites.includes(renegotiationScsv) ? 'offered' : 'none';
}

/** RFC 5246 §7.4.1.4: none may come twice. */
function parseExtensions(reader: Reader): Map<number, Buffer> | undefined {
  const block = reader.vector16();
  if (block === undefined) return undefined;
  const found = new Map<number, Buffer>();
  const inner = new Reader(block);
  while (!inner.done) {
    const type = inner.uint16();
    const data = inner.vector16();
    if (type === undefined || data === undefined || found.has(type)) return undefined;
    found.set(type, data);
  }
  return found;
}

function uint16s(bytes: Buffer): number[] {
  const values: number[] = [];
  for (let at = 0; at + 1 < bytes.length; at += 2) values.push(bytes.readUInt16BE(at));
  return values;
}

function whole(reader: Reader, read: (reader: Reader) => Buffer | undefined): Buffer | undefined {
  const value = read(reader);
  return reader.done ? value : undefined;
}

/** Reads from the front; undefined where there is not enough. */
export class Reader {
  readonly #bytes: Buffer;
  at: number;

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes;
    this.at = at;
  }

  get done(): boolean {
    return this.at === this.#bytes.length;
  }

  bytes(length: number): Buffer | undefined {
    if (this.at + length > this.#bytes.length) return undefined;
    this.at += length;
    return this.#bytes.subarray(this.at - length, this.at);
  }

  uint16(): number | undefined {
    return this.bytes(2)?.readUInt16BE(0);
  }

  vector8(): Buffer | undefined {
    const length = this.bytes(1)?.readUInt8(0);
    return length === undefined ? undefined : this.bytes(length);
  }

  vector24(): Buffer | undefined {
    const length = this.bytes(3)?.readUIntBE(0, 3);
    return length === undefined ? undefined : this.bytes(length);
  }

  vector16(): Buffer | undefined {
    const length = this.uint16();
    return length === undefined ? undefined : this.bytes(length);
  }
}
