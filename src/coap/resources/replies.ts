import type { HoldfastError } from '../../base/index.ts';
import type { CoapResponse } from '../message-layer.ts';

/** A response code from its class and detail, e.g. `code(2, 5)` = 2.05. */
function code(group: number, detail: number): number {
  return (group << 5) | detail;
}

/** The codes that the resources answer with. */
export const codes = {
  created: code(2, 1),
  valid: code(2, 3),
  changed: code(2, 4),
  content: code(2, 5),
  /** Not registered by any RFC: the API document's answer to an unsubscription. */
  noContent: code(2, 7),
  badRequest: code(4, 0),
  unauthorized: code(4, 1),
  notFound: code(4, 4),
  methodNotAllowed: code(4, 5),
  tooLarge: code(4, 13),
  unavailable: code(5, 3),
  internal: code(5, 0),
} as const;

export const created: CoapResponse = { code: codes.created };
export const changed: CoapResponse = { code: codes.changed };
export const subscribed: CoapResponse = { code: codes.content };
export const unsubscribed: CoapResponse = { code: codes.noContent };
export const notFound: CoapResponse = { code: codes.notFound };
export const methodNotAllowed: CoapResponse = { code: codes.methodNotAllowed };
export const invalidTopic: CoapResponse = { code: codes.badRequest, payload: 'invalid topic' };
export const missingToken: CoapResponse = {
  code: codes.badRequest,
  payload: 'Missing token or clientid in connection mode',
};
export const invalidToken: CoapResponse = {
  code: codes.unauthorized,
  payload: 'Invalid token or clientid in connection mode',
};
export const loginFailed: CoapResponse = { code: codes.unauthorized, payload: 'Login Failed: not_authorized' };

/** What a client is told of an error: never what the inside looks like. */
export function errorReply(error: HoldfastError): CoapResponse {
  switch (error.code) {
    case 'invalid_topic':
      return invalidTopic;
    case 'bad_request':
    case 'invalid_client_id':
      return { code: codes.badRequest, payload: error.message };
    case 'access_denied':
      return { code: codes.unauthorized, payload: 'not authorized by the access rules' };
    case 'not_authorized':
      return loginFailed;
    case 'payload_too_large':
      return { code: codes.tooLarge };
    case 'limit_reached':
      return { code: codes.unavailable, maxAge: 60, payload: error.message };
    case 'overloaded':
      return { code: codes.unavailable, maxAge: 1 };
    case 'store_full':
    case 'store_failed':
    case 'unavailable':
      return { code: codes.unavailable, maxAge: 10 };
    default:
      return { code: codes.internal };
  }
}
