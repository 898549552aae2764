import { readFile } from 'node:fs/promises';
import { type Clock, HoldfastError, reasonOf } from '../base/index.ts';
import { DtlsTransport, ServerCertificate, type Transport, udpTransports } from '../coap/index.ts';
import type { Config } from '../config/index.ts';
import type { PskFile } from '../connections/index.ts';
import type { InheritedSocket } from '../systemd/index.ts';
import type { Logger, Metrics } from '../telemetry/index.ts';
import { coapAddresses } from './coap-addresses.ts';

/** The addresses at which CoAP is listened to, and the keys of the secure ones. */
export class CoapTransports {
  readonly all: readonly Transport[];
  readonly #secure: readonly DtlsTransport[];
  /** Whether a client may also come in without a pre-shared key. */
  readonly #certified: boolean;
  readonly #psk: PskFile;
  readonly #logger: Logger;

  constructor(
    config: Config,
    deps: { psk: PskFile; sockets: readonly InheritedSocket[]; clock: Clock; logger: Logger; metrics: Metrics },
  ) {
    const { listen } = config.coap;
    const secure = listen.map((url) => url.startsWith('coaps:'));
    const carriers = udpTransports(coapAddresses(listen, deps.sockets, deps.logger.child('coap')));
    const logger = deps.logger.child('dtls');
    const options = {
      maxSessions: config.limits.dtlsSessions,
      // a client's chain of certificates
      ...(config.coap.clientCert === 'none' ? {} : { maxHandshakeMessage: 8_192 }),
    };
    const certificate = config.coap.certFile === undefined ? undefined : () => certificateOf(config);
    this.all = carriers.map((carrier, at) =>
      secure[at] === true ? new DtlsTransport({ ...deps, logger, carrier, certificate, options }) : carrier,
    );
    this.#secure = this.all.filter((one) => one instanceof DtlsTransport);
    this.#certified = certificate !== undefined;
    this.#psk = deps.psk;
    this.#logger = logger;
  }

  /**
   * Reads the keys; what was proved with ones that hold no more ends.
   * @returns the identities of those.
   * @throws HoldfastError `bad_configuration`.
   */
  async loadKeys(): Promise<ReadonlySet<string>> {
    const revoked = await this.#psk.load();
    for (const transport of this.#secure) transport.revoke(revoked);
    if (this.#secure.length > 0 && this.#psk.size === 0 && !this.#certified) {
      this.#logger.warn({}, 'no device can come in over coaps: there is no key; add one with `holdfast psk add NAME`');
    }
    return revoked;
  }
}

/** @throws HoldfastError `start_failed`. */
async function certificateOf({ coap }: Config): Promise<ServerCertificate> {
  const read = (path: string | undefined) =>
    readFile(path ?? '', 'utf8').catch((thrown: unknown) => {
      throw new HoldfastError('start_failed', `the certificate for coaps: ${reasonOf(thrown)}`, { cause: thrown });
    });
  const [chain, key] = await Promise.all([read(coap.certFile), read(coap.keyFile)]);
  const authorities = coap.caFile === undefined ? undefined : await read(coap.caFile);
  return new ServerCertificate({ chain, key, authorities, clientCertificate: coap.clientCert });
}
