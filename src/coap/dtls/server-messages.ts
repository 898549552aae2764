import { extensions, versions } from './protocol.ts';

/** Bodies of the server's handshake messages. */

export interface ServerHelloParts {
  readonly random: Buffer;
  readonly sessionId: Buffer;
  readonly suite: number;
  readonly extendedMasterSecret: boolean;
  /** Whether the client showed that it knows RFC 5746. */
  readonly renegotiation: boolean;
  /** Whether the point formats are to be answered: RFC 8422 §5.2. */
  readonly pointFormats: boolean;
  /** Ours; undefined where none was negotiated. */
  readonly connectionId: Buffer | undefined;
}

/** RFC 5246 §7.4.1.3. */
export function serverHello(parts: ServerHelloParts): Buffer {
  const chosen: Buffer[] = [];
  // RFC 5746 §3.6, RFC 7627 §5.1, RFC 9146 §3: only what the client offered is answered
  if (parts.renegotiation) chosen.push(extension(extensions.renegotiationInfo, Buffer.from([0])));
  if (parts.extendedMasterSecret) chosen.push(extension(extensions.extendedMasterSecret, Buffer.alloc(0)));
  if (parts.connectionId !== undefined) chosen.push(extension(extensions.connectionId, vector8(parts.connectionId)));
  if (parts.pointFormats) chosen.push(extension(extensions.ecPointFormats, vector8(Buffer.from([0]))));
  const block = Buffer.concat(chosen);
  return Buffer.concat([
    uint16(versions.dtls12),
    parts.random,
    vector8(parts.sessionId),
    uint16(parts.suite),
    // no compression
    Buffer.from([0]),
    ...(block.length === 0 ? [] : [uint16(block.length), block]),
  ]);
}

/** RFC 6347 §4.2.1: its version is DTLS 1.0 whatever is to be negotiated. */
export function helloVerifyRequest(cookie: Buffer): Buffer {
  return Buffer.concat([uint16(versions.dtls10), vector8(cookie)]);
}

function extension(type: number, data: Buffer): Buffer {
  return Buffer.concat([uint16(type), uint16(data.length), data]);
}

function uint16(value: number): Buffer {
  return Buffer.from([value >>> 8, value & 0xff]);
}

function vector8(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}
