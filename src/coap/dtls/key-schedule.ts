import { createHash, createHmac } from 'node:crypto';
import { masterSecretLength, verifyDataLength } from './protocol.ts';

/** Key derivation of TLS 1.2 with SHA-256. */

/** PRF, RFC 5246 §5. */
export function prf(secret: Uint8Array, label: string, seed: Uint8Array, length: number): Buffer {
  const labelled = Buffer.concat([Buffer.from(label, 'latin1'), seed]);
  const out = Buffer.alloc(length);
  let a: Uint8Array = labelled;
  for (let at = 0; at < length; at += 32) {
    a = createHmac('sha256', secret).update(a).digest();
    const block = createHmac('sha256', secret).update(a).update(labelled).digest();
    block.copy(out, at);
    block.fill(0);
  }
  return out;
}

/** RFC 4279 §2: the other secret is as many zeros as the key has bytes. */
export function pskPremaster(psk: Uint8Array): Buffer {
  const premaster = Buffer.alloc(4 + 2 * psk.length);
  premaster.writeUInt16BE(psk.length, 0);
  premaster.writeUInt16BE(psk.length, 2 + psk.length);
  premaster.set(psk, 4 + psk.length);
  return premaster;
}

/** RFC 5246 §8.1. */
export function masterSecret(premaster: Uint8Array, clientRandom: Uint8Array, serverRandom: Uint8Array): Buffer {
  return prf(premaster, 'master secret', Buffer.concat([clientRandom, serverRandom]), masterSecretLength);
}

/** RFC 7627 §4: `sessionHash` is over all messages up to the ClientKeyExchange. */
export function extendedMasterSecret(premaster: Uint8Array, sessionHash: Uint8Array): Buffer {
  return prf(premaster, 'extended master secret', sessionHash, masterSecretLength);
}

/** Bytes of keys that an AES-128 AEAD takes: two keys of 16, two implicit nonces of 4 (RFC 5246 §6.3, RFC 6655 §3). */
export const keyBlockLength = 40;

export function keyBlock(master: Uint8Array, clientRandom: Uint8Array, serverRandom: Uint8Array): Buffer {
  return prf(master, 'key expansion', Buffer.concat([serverRandom, clientRandom]), keyBlockLength);
}

/** RFC 5246 §7.4.9. */
export function verifyData(master: Uint8Array, from: 'client' | 'server', transcript: Uint8Array): Buffer {
  return prf(master, `${from} finished`, transcript, verifyDataLength);
}

export function sha256(parts: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}
