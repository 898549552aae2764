import { createECDH } from 'node:crypto';
import type { ServerCertificate } from './certificates.ts';
import { Reader } from './client-hello.ts';
import { pskPremaster } from './key-schedule.ts';

/** Where pre-shared keys are. */
export interface PskKeys {
  keyOf(identity: string): Uint8Array | undefined;
}

/** What a ClientKeyExchange led to. */
export interface Agreed {
  readonly premaster: Buffer;
  /** The name that is proved by the keys. */
  readonly identity: string | undefined;
  /** False where the keys are ones that nobody has: the handshake fails as with a wrong key. */
  readonly possible: boolean;
}

/** One way to agree on a premaster secret. */
export interface KeyExchange {
  /** Body of the ServerKeyExchange; undefined where none is sent. */
  offer(clientRandom: Buffer, serverRandom: Buffer): Buffer | undefined;
  /** Undefined where the client's message is malformed. */
  agree(body: Buffer): Agreed | undefined;
}

/** RFC 4279 §2, without an identity hint. For an identity that is not there the key is one that nobody has. */
export class PskExchange implements KeyExchange {
  readonly #keys: PskKeys;
  readonly #random: (length: number) => Buffer;

  constructor(keys: PskKeys, random: (length: number) => Buffer) {
    this.#keys = keys;
    this.#random = random;
  }

  offer(): undefined {
    return undefined;
  }

  agree(body: Buffer): Agreed | undefined {
    const reader = new Reader(body);
    const bytes = reader.vector16();
    if (bytes === undefined || !reader.done) return undefined;
    const identity = bytes.toString('utf8');
    const known = this.#keys.keyOf(identity);
    if (known !== undefined) return { premaster: pskPremaster(known), identity, possible: true };
    const nobodys = this.#random(16);
    const premaster = pskPremaster(nobodys);
    nobodys.fill(0);
    return { premaster, identity: undefined, possible: false };
  }
}

/** secp256r1, RFC 8422 §5.1.1. */
export const p256 = 23;
/** ecdsa_secp256r1_sha256: SHA-256 (4) and ECDSA (3), RFC 5246 §7.4.1.4.1. */
export const ecdsaSha256 = 0x0403;

const namedCurve = 3;

/** Ephemeral ECDH on P-256, signed with the certificate's key: RFC 8422 §5.4, §5.7. */
export class EcdheExchange implements KeyExchange {
  readonly #certificate: ServerCertificate;
  readonly #ecdh = createECDH('prime256v1');

  constructor(certificate: ServerCertificate) {
    this.#certificate = certificate;
  }

  offer(clientRandom: Buffer, serverRandom: Buffer): Buffer {
    const point = this.#ecdh.generateKeys();
    const parameters = Buffer.concat([Buffer.from([namedCurve, 0, p256, point.length]), point]);
    const signature = this.#certificate.sign(Buffer.concat([clientRandom, serverRandom, parameters]));
    return Buffer.concat([parameters, signed(signature)]);
  }

  agree(body: Buffer): Agreed | undefined {
    const reader = new Reader(body);
    const point = reader.vector8();
    if (point === undefined || !reader.done || point[0] !== 4) return undefined;
    try {
      // checks that it is on the curve
      return { premaster: this.#ecdh.computeSecret(point), identity: undefined, possible: true };
    } catch {
      return undefined;
    }
  }
}

/** DigitallySigned, RFC 5246 §4.7. */
function signed(signature: Buffer): Buffer {
  const out = Buffer.alloc(4 + signature.length);
  out.writeUInt16BE(ecdsaSha256, 0);
  out.writeUInt16BE(signature.length, 2);
  out.set(signature, 4);
  return out;
}
