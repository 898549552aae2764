import { execFileSync } from 'node:child_process';
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Issued {
  readonly certificate: string;
  readonly key: string;
  readonly der: Buffer;
  readonly keyObject: KeyObject;
  /** Paths of the files, until `remove`. */
  readonly certFile: string;
  readonly keyFile: string;
}

export interface Wanted {
  readonly name: string;
  readonly by?: Issued;
  readonly ca?: boolean;
  readonly curve?: string;
  /** More extensions, as in a configuration file of openssl. */
  readonly extensions?: string;
  /** Whole subject, instead of the name alone. */
  readonly subject?: string;
}

/** Certificates for tests, by openssl. */
export class Pki {
  readonly #directory = mkdtempSync(join(tmpdir(), 'holdfast-pki-'));
  #serial = 0;

  issue({ name, by, ca = false, curve = 'prime256v1', extensions = '', subject = `/CN=${name}` }: Wanted): Issued {
    const stem = join(this.#directory, `${++this.#serial}`);
    const file = (ending: string) => `${stem}.${ending}`;
    const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'ignore'] });
    openssl('ecparam', '-name', curve, '-genkey', '-noout', '-out', file('key'));
    writeFileSync(file('ext'), `basicConstraints=critical,CA:${ca ? 'TRUE' : 'FALSE'}\n${extensions}\n`);
    openssl('req', '-new', '-key', file('key'), '-subj', subject, '-out', file('csr'));
    const issuer =
      by === undefined ? ['-signkey', file('key')] : ['-CA', by.certFile, '-CAkey', by.keyFile, '-CAcreateserial'];
    openssl('x509', '-req', '-in', file('csr'), ...issuer, '-days', '30', '-extfile', file('ext'), '-out', file('pem'));
    const [certificate, key] = [readFileSync(file('pem'), 'utf8'), readFileSync(file('key'), 'utf8')];
    return {
      certificate,
      key,
      der: new X509Certificate(certificate).raw,
      keyObject: createPrivateKey(key),
      certFile: file('pem'),
      keyFile: file('key'),
    };
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
