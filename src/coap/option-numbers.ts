/** Option numbers: RFC 7252 §12.2, RFC 7641 §8, RFC 7959 §6, RFC 9175. */
export const optionNumbers = {
  ifMatch: 1,
  uriHost: 3,
  etag: 4,
  ifNoneMatch: 5,
  observe: 6,
  uriPort: 7,
  uriPath: 11,
  contentFormat: 12,
  maxAge: 14,
  uriQuery: 15,
  accept: 17,
  block2: 23,
  block1: 27,
  size2: 28,
  proxyUri: 35,
  proxyScheme: 39,
  size1: 60,
  requestTag: 292,
} as const;

/** Critical options have odd numbers, RFC 7252 §5.4.6. */
export function isCritical(number: number): boolean {
  return (number & 1) === 1;
}
