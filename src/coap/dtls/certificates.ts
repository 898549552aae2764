import { createPrivateKey, type KeyObject, sign, verify, X509Certificate } from 'node:crypto';
import { HoldfastError, reasonOf } from '../../base/index.ts';

/** Texts of PEM files, and whether clients are asked for a certificate of their own. */
export interface CertificateParts {
  readonly chain: string;
  readonly key: string;
  /** Whom client certificates are to come from. */
  readonly authorities?: string | undefined;
  readonly clientCertificate: 'none' | 'optional' | 'required';
}

/** Certificates in a chain, as a peer gives it, at most. */
const maxChain = 5;

/** The server's certificate (ECDSA on P-256, RFC 7925 §4.4), and the judge of clients' ones. */
export class ServerCertificate {
  readonly clientCertificate: 'none' | 'optional' | 'required';
  /** In DER, the server's own first. */
  readonly chain: readonly Buffer[];
  readonly #key: KeyObject;
  readonly #authorities: readonly X509Certificate[];

  /** @throws HoldfastError `start_failed` for what is no chain, no key of it, or another kind of key. */
  constructor({ chain, key, authorities, clientCertificate }: CertificateParts) {
    this.clientCertificate = clientCertificate;
    try {
      const certificates = pemBlocks(chain);
      this.#key = createPrivateKey(key);
      this.#authorities = authorities === undefined ? [] : pemBlocks(authorities);
      const [own] = certificates;
      if (own === undefined) throw new Error('there is no certificate in the file');
      if (!isP256(this.#key))
        throw new Error('the key is not ECDSA on the curve P-256, as constrained devices have it');
      if (!own.checkPrivateKey(this.#key)) throw new Error('the key is not that of the certificate');
      this.chain = certificates.map((one) => one.raw);
    } catch (thrown) {
      throw new HoldfastError('start_failed', `the certificate for coaps cannot be used: ${reasonOf(thrown)}`);
    }
  }

  /** ECDSA with SHA-256, in DER. */
  sign(data: Uint8Array): Buffer {
    return sign('sha256', data, this.#key);
  }

  /**
   * The client whose certificate comes first, where an authority of ours stands behind it at `time` (wall, milliseconds).
   * Undefined where none does, or it has no name.
   */
  judge(chain: readonly Buffer[], time: number): ClientCertificate | undefined {
    if (chain.length === 0 || chain.length > maxChain) return undefined;
    try {
      const certificates = chain.map((der) => new X509Certificate(der));
      const [leaf] = certificates;
      if (leaf === undefined || leaf.ca || !isP256(leaf.publicKey) || !mayBeClient(leaf)) return undefined;
      const identity = commonName(leaf);
      if (identity === undefined || !this.#trusted(certificates, time)) return undefined;
      return { identity, verify: (data, signature) => verify('sha256', data, leaf.publicKey, signature) };
    } catch {
      return undefined;
    }
  }

  /** Each certificate is issued by the next, until one is issued by an authority. */
  #trusted(chain: readonly X509Certificate[], time: number): boolean {
    for (const [at, one] of chain.entries()) {
      if (!validAt(one, time) || (at > 0 && !one.ca)) return false;
      if (this.#authorities.some((authority) => validAt(authority, time) && issued(one, authority))) return true;
      const next = chain[at + 1];
      if (next === undefined || !issued(one, next)) return false;
    }
    return false;
  }
}

/** A client's certificate that was found good; who holds it is shown by a signature. */
export interface ClientCertificate {
  /** The common name of its subject. */
  readonly identity: string;
  verify(data: Uint8Array, signature: Uint8Array): boolean;
}

function issued(one: X509Certificate, by: X509Certificate): boolean {
  return by.ca && one.checkIssued(by) && one.verify(by.publicKey);
}

function validAt(one: X509Certificate, time: number): boolean {
  return Date.parse(one.validFrom) <= time && time <= Date.parse(one.validTo);
}

/** Extended key usage, where it is there: id-kp-clientAuth, or any. */
function mayBeClient({ keyUsage }: X509Certificate): boolean {
  return keyUsage === undefined || keyUsage.some((use) => use === '1.3.6.1.5.5.7.3.2' || use === '2.5.29.37.0');
}

/** A user's name: what others could mean something else by is none. */
function commonName({ subject }: X509Certificate): string | undefined {
  const names = (subject ?? '').split('\n').filter((line) => line.startsWith('CN='));
  const name = names.length === 1 ? names[0]?.slice(3) : undefined;
  return name !== undefined && /^[A-Za-z0-9_.-]{1,64}$/.test(name) ? name : undefined;
}

function isP256(key: KeyObject): boolean {
  return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1';
}

function pemBlocks(text: string): X509Certificate[] {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}
