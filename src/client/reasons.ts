import { driving, type ErrorCode, HoldfastError, reasonOf } from '../base/index.ts';

type Reason = readonly [ErrorCode, string];

/** CONNACK of 3.1.1 (§3.2.2.3). */
const refusals: Readonly<Record<number, Reason>> = {
  1: ['bad_request', 'it does not speak this version of MQTT'],
  2: ['invalid_client_id', 'the client id is not accepted'],
  3: ['unavailable', 'it cannot be used at the moment'],
  4: ['not_authorized', 'wrong user name or password'],
  5: ['not_authorized', 'not authorised'],
};

/** MQTT 5 §2.4. */
const reasonCodes: Readonly<Record<number, Reason>> = {
  128: ['unavailable', 'unspecified error'],
  131: ['access_denied', 'refused by that server'],
  132: ['bad_request', 'it does not speak this version of MQTT'],
  133: ['invalid_client_id', 'the client id is not accepted'],
  134: ['not_authorized', 'wrong user name or password'],
  135: ['access_denied', 'not authorised'],
  136: ['unavailable', 'it cannot be used at the moment'],
  137: ['overloaded', 'it is busy'],
  138: ['not_authorized', 'banned'],
  139: ['unavailable', 'it is shutting down'],
  140: ['not_authorized', 'that way of logging in is not accepted'],
  141: ['unavailable', 'it heard nothing for too long'],
  142: ['unavailable', 'another client came with the same client id'],
  143: ['invalid_topic', 'the filter is not valid'],
  144: ['invalid_topic', 'the topic is not valid'],
  149: ['payload_too_large', 'the packet is too large'],
  150: ['overloaded', 'too many messages'],
  151: ['limit_reached', 'a quota is exceeded'],
  153: ['bad_request', 'the payload has not the format that was stated'],
  154: ['bad_request', 'it keeps no retained messages'],
  155: ['bad_request', 'that QoS is not supported'],
  158: ['bad_request', 'shared subscriptions are not supported'],
  161: ['bad_request', 'subscription identifiers are not supported'],
  162: ['bad_request', 'wildcards are not supported'],
};

/** An error of a reason code (MQTT 5), or of a CONNACK's return code (3.1.1). `what`: what it is about. */
export function refusalOf(code: number, what: string, text?: string): HoldfastError {
  const [error, reason] = refusals[code] ?? reasonCodes[code] ?? (['unavailable', `reason code ${code}`] as const);
  const more = text === undefined || text === '' ? '' : ` (${printable(text)})`;
  return new HoldfastError(error, `${what}: ${reason}${more}`);
}

const certificateErrors =
  /^(?:CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_CERT_ALTNAME_INVALID$|INVALID_CA$|PATH_LENGTH_)/;

/** Why a connection did not come about, or broke. */
export function connectionError(url: string, thrown: Error & { readonly code?: unknown }): HoldfastError {
  const code = typeof thrown.code === 'string' ? thrown.code : '';
  const text =
    code === 'ECONNREFUSED'
      ? `nobody listens at ${url}`
      : certificateErrors.test(code)
        ? `the certificate of ${url} is not trusted: ${printable(reasonOf(thrown))}`
        : code === 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'
          ? `${url} asks for a client certificate: --cert and --key`
          : // one that stands for the failures of several addresses has no text of its own
            `${url}: ${spoken(reasonOf(thrown)) || code || 'not reached'}`;
  // without the cause, which would be said twice
  return new HoldfastError(certificateErrors.test(code) ? 'not_authorized' : 'unavailable', text);
}

/** What is for people in a text of OpenSSL's. */
function spoken(text: string): string {
  return printable(/:SSL routines:[^:]*:([^:]+):/.exec(text)?.[1] ?? text);
}

/** Without what could drive a terminal. */
export function printable(text: string): string {
  return text.replace(driving, '?').slice(0, 500);
}
