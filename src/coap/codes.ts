/** A code from its class and detail, e.g. `code(2, 5)` = 2.05. RFC 7252 §3. */
export function code(group: number, detail: number): number {
  return (group << 5) | detail;
}

/** The class of a code: 0 request, 2 success, 4 client error, 5 server error. */
export function classOf(value: number): number {
  return value >> 5;
}

/** `2.05` of `code(2, 5)`. */
export function codeText(value: number): string {
  return `${value >> 5}.${String(value & 31).padStart(2, '0')}`;
}

/** Request codes, RFC 7252 §12.1.1 and RFC 8132. */
export const methods = { get: 1, post: 2, put: 3, delete: 4, fetch: 5, patch: 6, ipatch: 7 } as const;

/** Response codes, RFC 7252 §12.1.2 and RFC 7959 §6. */
export const codes = {
  empty: 0,
  created: code(2, 1),
  deleted: code(2, 2),
  valid: code(2, 3),
  changed: code(2, 4),
  content: code(2, 5),
  continue: code(2, 31),
  badRequest: code(4, 0),
  unauthorized: code(4, 1),
  badOption: code(4, 2),
  forbidden: code(4, 3),
  notFound: code(4, 4),
  methodNotAllowed: code(4, 5),
  notAcceptable: code(4, 6),
  requestEntityIncomplete: code(4, 8),
  preconditionFailed: code(4, 12),
  requestEntityTooLarge: code(4, 13),
  unsupportedContentFormat: code(4, 15),
  tooManyRequests: code(4, 29),
  internalServerError: code(5, 0),
  serviceUnavailable: code(5, 3),
  proxyingNotSupported: code(5, 5),
} as const;
