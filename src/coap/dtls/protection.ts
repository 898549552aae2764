import { createCipheriv, createDecipheriv } from 'node:crypto';
import { contentTypes, recordHeader, versions } from './protocol.ts';
import { type DtlsRecord, maxPlaintext, writeHeader } from './record.ts';
import type { CipherSuite } from './suites.ts';

/** What a protected record held. */
export interface Opened {
  readonly type: number;
  readonly content: Buffer;
}

const explicitNonce = 8;
/** Of the connection id's additional data, RFC 9146 §5.3: eight bytes of 255. */
const placeholder = 0xff;

/** Protects and opens the records of one epoch: AEAD as in RFC 5246 §6.2.3.3, the explicit nonce as in RFC 6655 §3. */
export class RecordProtection {
  readonly #suite: CipherSuite;
  /** client key 16, server key 16, client IV 4, server IV 4. */
  readonly #block: Buffer;
  readonly #server: boolean;

  /** Takes `block` over. */
  constructor(suite: CipherSuite, block: Buffer, end: 'client' | 'server') {
    this.#suite = suite;
    this.#block = block;
    this.#server = end === 'server';
  }

  /** A whole record. `connectionId`: the peer's, where it gave one that is not empty (RFC 9146 §3). */
  seal(type: number, epoch: number, sequence: number, content: Uint8Array, connectionId?: Buffer): Buffer {
    const { tagLength } = this.#suite;
    const extra = connectionId?.length ?? 0;
    const inner = content.length + (extra === 0 ? 0 : 1);
    const body = recordHeader + extra;
    const record = Buffer.allocUnsafe(body + explicitNonce + inner + tagLength);
    writeHeader(record, extra === 0 ? type : contentTypes.connectionId, versions.dtls12, epoch, sequence);
    if (connectionId !== undefined && extra > 0) record.set(connectionId, 11);
    record.writeUInt16BE(explicitNonce + inner + tagLength, body - 2);
    record.copy(record, body, 3, 11);
    const aad = this.#additionalData(record, type, inner, extra);
    const nonce = this.#nonce(this.#server ? 36 : 32, record, body);
    const cipher = this.#cipher(this.#server ? 16 : 0, nonce, aad, inner);
    let at = body + explicitNonce;
    if (extra === 0) at += cipher.update(content).copy(record, at);
    else {
      // CCM takes the text in one piece
      const text = Buffer.allocUnsafe(inner);
      text.set(content);
      text.writeUInt8(type, content.length);
      at += cipher.update(text).copy(record, at);
    }
    cipher.final();
    cipher.getAuthTag().copy(record, at);
    return record;
  }

  /** What was sealed by the other end; undefined where this is not that. */
  open(record: DtlsRecord): Opened | undefined {
    const { tagLength, mode } = this.#suite;
    const { fragment, connectionId } = record;
    const length = fragment.length - explicitNonce - tagLength;
    if (length < 0 || length > maxPlaintext + 1) return undefined;
    const extra = connectionId?.length ?? 0;
    const header = Buffer.allocUnsafe(recordHeader + extra);
    writeHeader(header, record.type, record.version, record.epoch, record.sequence);
    if (connectionId !== undefined) header.set(connectionId, 11);
    const aad = this.#additionalData(header, record.type, length, extra);
    const nonce = this.#nonce(this.#server ? 32 : 36, fragment, 0);
    const at = this.#server ? 0 : 16;
    const key = this.#block.subarray(at, at + 16);
    const tag = fragment.subarray(explicitNonce + length);
    const text = fragment.subarray(explicitNonce, explicitNonce + length);
    let content: Buffer;
    try {
      if (mode === 'aes-128-ccm') {
        const decipher = createDecipheriv(mode, key, nonce, { authTagLength: tagLength });
        decipher.setAuthTag(tag);
        decipher.setAAD(aad, { plaintextLength: length });
        content = decipher.update(text);
        decipher.final();
      } else {
        const decipher = createDecipheriv(mode, key, nonce, { authTagLength: tagLength });
        decipher.setAuthTag(tag);
        decipher.setAAD(aad);
        content = decipher.update(text);
        decipher.final();
      }
    } catch {
      return undefined;
    }
    if (connectionId === undefined) return { type: record.type, content };
    // RFC 9146 §4: the content, its type, and zeros
    let end = content.length - 1;
    while (end >= 0 && content[end] === 0) end -= 1;
    return end < 0 ? undefined : { type: content.readUInt8(end), content: content.subarray(0, end) };
  }

  /** The keys are gone: nothing is sealed or opened afterwards. */
  destroy(): void {
    this.#block.fill(0);
  }

  /** RFC 5246 §6.2.3.3, or RFC 9146 §5.3. `header`: a record's, up to the connection id's end. */
  #additionalData(header: Buffer, type: number, length: number, extra: number): Buffer {
    if (extra === 0) {
      const aad = Buffer.allocUnsafe(13);
      header.copy(aad, 0, 3, 11);
      aad.writeUInt8(type, 8);
      header.copy(aad, 9, 1, 3);
      aad.writeUInt16BE(length, 11);
      return aad;
    }
    const aad = Buffer.allocUnsafe(23 + extra);
    aad.fill(placeholder, 0, 8);
    aad.writeUInt8(contentTypes.connectionId, 8);
    aad.writeUInt8(extra, 9);
    // type, version, epoch, sequence number, connection id
    header.copy(aad, 10, 0, 11 + extra);
    aad.writeUInt16BE(length, 21 + extra);
    return aad;
  }

  #nonce(implicitAt: number, from: Buffer, at: number): Buffer {
    const nonce = Buffer.allocUnsafe(12);
    this.#block.copy(nonce, 0, implicitAt, implicitAt + 4);
    from.copy(nonce, 4, at, at + explicitNonce);
    return nonce;
  }

  #cipher(keyAt: number, nonce: Buffer, aad: Buffer, length: number) {
    const { mode, tagLength } = this.#suite;
    const key = this.#block.subarray(keyAt, keyAt + 16);
    if (mode === 'aes-128-ccm') {
      const cipher = createCipheriv(mode, key, nonce, { authTagLength: tagLength });
      cipher.setAAD(aad, { plaintextLength: length });
      return cipher;
    }
    const cipher = createCipheriv(mode, key, nonce, { authTagLength: tagLength });
    cipher.setAAD(aad);
    return cipher;
  }
}
