import { X509Certificate } from 'node:crypto';
import { HoldfastError, reasonOf } from '../base/index.ts';
import type { GatewayTarget } from './gateway-client.ts';

/** What TLS is told of who the server has to be, and who we are. */
export interface TlsOptions {
  readonly rejectUnauthorized: true;
  readonly ca?: Buffer;
  readonly allowPartialTrustChain?: true;
  readonly checkServerIdentity?: (host: string, shown: { readonly raw: Buffer }) => Error | undefined;
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

/** @throws HoldfastError `bad_request` where the pinned certificate cannot be read. */
export function tlsOptions({ ca, pinned, certificate }: GatewayTarget): TlsOptions {
  return {
    rejectUnauthorized: true,
    ...(ca === undefined ? {} : { ca }),
    ...(pinned === undefined ? {} : pinning(pinned)),
    ...(certificate ?? {}),
  };
}

/**
 * Exactly that certificate: it is trusted as it is, whoever signed it, so long as it is valid today; the name in it is that by
 * which devices know the gateway, and does not matter.
 */
function pinning(pem: Buffer): Pick<TlsOptions, 'ca' | 'allowPartialTrustChain' | 'checkServerIdentity'> {
  let expected: Buffer;
  try {
    expected = new X509Certificate(pem).raw;
  } catch (thrown) {
    throw new HoldfastError('bad_request', `the listener’s certificate cannot be read: ${reasonOf(thrown)}`, {
      cause: thrown,
    });
  }
  return {
    ca: pem,
    allowPartialTrustChain: true,
    checkServerIdentity: (_host, { raw }) =>
      raw.equals(expected)
        ? undefined
        : Object.assign(new Error('it is another than the configuration names'), {
            code: 'ERR_TLS_CERT_ALTNAME_INVALID',
          }),
  };
}
