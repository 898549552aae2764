import { offersDtls12, parseClientHello, parseHelloPrefix } from './client-hello.ts';
import { Cookies } from './cookies.ts';
import type { DropReason } from './counters.ts';
import { type Fragment, writeFragment } from './fragments.ts';
import type { DtlsOptions } from './options.ts';
import { alertLevels, alerts, contentTypes, handshakeTypes, versions } from './protocol.ts';
import { Rate } from './rate.ts';
import { type DtlsRecord, plainRecord } from './record.ts';
import { helloVerifyRequest } from './server-messages.ts';

/** What is to be done with the beginning of a ClientHello. Answers are shorter than what they answer. */
export type Verdict =
  | { readonly kind: 'admitted'; readonly random: Buffer }
  | { readonly kind: 'verify' | 'wrong_version'; readonly answer: Buffer }
  | { readonly kind: 'dropped'; readonly reason: DropReason };

/** What stands before a handshake, RFC 6347 §4.2.1: keeps nothing of a hello that has no valid cookie. */
export class HelloGate {
  readonly #cookies: Cookies;
  readonly #fresh: Rate;
  readonly #cookied: Rate;

  constructor(options: DtlsOptions, random: (length: number) => Buffer, now: number) {
    this.#cookies = new Cookies(random, now);
    this.#fresh = new Rate(options.maxHellosPerSecond, now);
    this.#cookied = new Rate(options.maxHandshakesPerSecond, now);
  }

  /** `fragment`: with offset 0, whole or not: a cookie is over what comes before it, and so is in the first one. */
  judge(fragment: Fragment, record: DtlsRecord, address: string, port: number, now: number): Verdict {
    const prefix = parseHelloPrefix(fragment.body);
    if (prefix === undefined) return { kind: 'dropped', reason: 'malformed' };
    const cookied = prefix.cookie.length > 0;
    if (!(cookied ? this.#cookied : this.#fresh).take(now)) return { kind: 'dropped', reason: 'rate' };
    if (cookied && this.#cookies.valid(prefix, address, port, now)) return { kind: 'admitted', random: prefix.random };
    // a client of another version alone knows no answer but this one
    const whole = fragment.body.length === fragment.length ? parseClientHello(fragment.body) : undefined;
    if (prefix.version >= versions.dtls10 || (whole !== undefined && !offersDtls12(whole))) {
      const alert = Buffer.from([alertLevels.fatal, alerts.protocolVersion]);
      const answer = plainRecord(contentTypes.alert, versions.dtls12, record.sequence, alert);
      return { kind: 'wrong_version', answer };
    }
    const body = helloVerifyRequest(this.#cookies.cookieFor(prefix, address, port, now));
    const { messageSequence } = fragment;
    const message = writeFragment({ type: handshakeTypes.helloVerifyRequest, messageSequence, body });
    // with the client's record version: some take no other before one is agreed on
    const answer = plainRecord(contentTypes.handshake, record.version, record.sequence, message);
    return { kind: 'verify', answer };
  }
}
