import { Reader } from './client-hello.ts';
import { ecdsaSha256 } from './key-exchange.ts';

/** Certificate, RFC 5246 §7.4.2. */
export function certificateMessage(chain: readonly Buffer[]): Buffer {
  const list = Buffer.concat(chain.flatMap((one) => [uint24(one.length), one]));
  return Buffer.concat([uint24(list.length), list]);
}

/** The certificates of the client's message, in DER; undefined where it is malformed. */
export function parseCertificates(body: Buffer): Buffer[] | undefined {
  const outer = new Reader(body);
  const list = outer.vector24();
  if (list === undefined || !outer.done) return undefined;
  const chain: Buffer[] = [];
  for (const reader = new Reader(list); !reader.done; ) {
    const one = reader.vector24();
    if (one === undefined || one.length === 0) return undefined;
    chain.push(one);
  }
  return chain;
}

/** CertificateRequest, RFC 5246 §7.4.4: ecdsa_sign (64), ECDSA with SHA-256, of whatever authority. */
export function certificateRequest(): Buffer {
  return Buffer.from([1, 64, 0, 2, ecdsaSha256 >> 8, ecdsaSha256 & 0xff, 0, 0]);
}

/** The signature in a CertificateVerify; undefined where it is malformed, or of an algorithm that was not asked for. */
export function parseCertificateVerify(body: Buffer): Buffer | undefined {
  const reader = new Reader(body);
  if (reader.uint16() !== ecdsaSha256) return undefined;
  const signature = reader.vector16();
  return reader.done ? signature : undefined;
}

function uint24(value: number): Buffer {
  return Buffer.from([value >>> 16, (value >>> 8) & 0xff, value & 0xff]);
}
