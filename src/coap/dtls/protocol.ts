/** Numbers of DTLS 1.2, RFC 6347, 5246 and the extensions' own. */

export const contentTypes = {
  changeCipherSpec: 20,
  alert: 21,
  handshake: 22,
  applicationData: 23,
  /** RFC 9146 §4. */
  connectionId: 25,
} as const;

export const handshakeTypes = {
  helloRequest: 0,
  clientHello: 1,
  serverHello: 2,
  helloVerifyRequest: 3,
  certificate: 11,
  serverKeyExchange: 12,
  certificateRequest: 13,
  serverHelloDone: 14,
  certificateVerify: 15,
  clientKeyExchange: 16,
  finished: 20,
} as const;

/** Versions count downwards, RFC 6347 §4.1. */
export const versions = { dtls10: 0xfeff, dtls12: 0xfefd } as const;

export const alertLevels = { warning: 1, fatal: 2 } as const;

export const alerts = {
  closeNotify: 0,
  unexpectedMessage: 10,
  handshakeFailure: 40,
  badCertificate: 42,
  illegalParameter: 47,
  decodeError: 50,
  decryptError: 51,
  protocolVersion: 70,
  internalError: 80,
  noRenegotiation: 100,
} as const;

export const extensions = {
  /** RFC 8422 §5.1. */
  supportedGroups: 10,
  ecPointFormats: 11,
  signatureAlgorithms: 13,
  /** RFC 7627. */
  extendedMasterSecret: 23,
  supportedVersions: 43,
  /** RFC 9146. */
  connectionId: 54,
  /** RFC 5746. */
  renegotiationInfo: 0xff01,
} as const;

/** TLS_EMPTY_RENEGOTIATION_INFO_SCSV, RFC 5746 §3.3. */
export const renegotiationScsv = 0x00ff;

/** RFC 6347 §4.3.1; a connection id comes in before the length (RFC 9146 §4). */
export const recordHeader = 13;
/** RFC 6347 §4.2.2. */
export const handshakeHeader = 12;
export const randomLength = 32;
export const verifyDataLength = 12;
export const masterSecretLength = 48;
