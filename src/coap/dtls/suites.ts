/** A cipher suite: a key exchange, AES-128 in an AEAD mode, SHA-256 as the PRF's hash (RFC 5246 §5). */
export interface CipherSuite {
  readonly id: number;
  readonly name: string;
  readonly exchange: 'psk' | 'ecdhe_ecdsa';
  readonly mode: 'aes-128-ccm' | 'aes-128-gcm';
  readonly tagLength: 8 | 16;
}

/** RFC 6655 §4 and RFC 7251 (CCM), RFC 5487 §2 and RFC 5289 (GCM). RFC 7252 §9.1.3 makes the two CCM_8 mandatory. */
const suites: readonly CipherSuite[] = [
  suite(0xc0a8, 'TLS_PSK_WITH_AES_128_CCM_8', 'psk', 'aes-128-ccm', 8),
  suite(0xc0a4, 'TLS_PSK_WITH_AES_128_CCM', 'psk', 'aes-128-ccm', 16),
  suite(0x00a8, 'TLS_PSK_WITH_AES_128_GCM_SHA256', 'psk', 'aes-128-gcm', 16),
  suite(0xc0ae, 'TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8', 'ecdhe_ecdsa', 'aes-128-ccm', 8),
  suite(0xc0ac, 'TLS_ECDHE_ECDSA_WITH_AES_128_CCM', 'ecdhe_ecdsa', 'aes-128-ccm', 16),
  suite(0xc02b, 'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256', 'ecdhe_ecdsa', 'aes-128-gcm', 16),
];

const byId = new Map(suites.map((suite) => [suite.id, suite]));

export function suiteOf(id: number): CipherSuite | undefined {
  return byId.get(id);
}

/** The first usable one that the client offers: a constrained device knows what its hardware is good at, and none is weak. */
export function chooseSuite(
  offered: readonly number[],
  usable: (exchange: CipherSuite['exchange']) => boolean,
): CipherSuite | undefined {
  for (const id of offered) {
    const found = byId.get(id);
    if (found !== undefined && usable(found.exchange)) return found;
  }
  return undefined;
}

function suite(
  id: number,
  name: string,
  exchange: CipherSuite['exchange'],
  mode: CipherSuite['mode'],
  tagLength: CipherSuite['tagLength'],
): CipherSuite {
  return { id, name, exchange, mode, tagLength };
}
