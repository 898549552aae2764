import type { Config } from './schema.ts';
import { isLoopback } from './urls.ts';

export interface CrossProblem {
  readonly key: string;
  readonly text: string;
}

/** What no single key shows. `excused`: `auth.anonymous` is stated, or there are users. */
export function* crossProblems(config: Config, excused: boolean): Generator<CrossProblem> {
  yield* exposure(config, excused);
  yield* certificates(config.coap, 'coap');
  yield* certificates(config.mqtt, 'mqtt');
  const tls = config.mqtt.listen.find((url) => /^(mqtts|wss):/.test(url));
  if (tls !== undefined && config.mqtt.certFile === undefined && config.mqtt.keyFile === undefined) {
    yield { key: 'mqtt.cert_file', text: `is missing, and so is mqtt.key_file: ${tls} needs both` };
  }
  for (const section of ['coap', 'mqtt'] as const) {
    const { clientCert, caFile } = config[section];
    if (clientCert === 'none' || caFile !== undefined) continue;
    yield { key: `${section}.ca_file`, text: `is missing: ${section}.client_cert = "${clientCert}" needs it` };
  }
  if (config.mqtt.useIdentityAsUsername && config.mqtt.clientCert === 'none') {
    yield { key: 'mqtt.client_cert', text: 'is "none": mqtt.use_identity_as_username needs "optional" or "required"' };
  }
  yield* certificates(config.rest, 'rest');
  if (
    config.rest.listen.startsWith('https:') &&
    config.rest.certFile === undefined &&
    config.rest.keyFile === undefined
  ) {
    yield { key: 'rest.cert_file', text: `is missing, and so is rest.key_file: ${config.rest.listen} needs both` };
  }
  for (const section of ['coap', 'mqtt'] as const) {
    const urls = config[section].listen.filter((url) => !/:0\/?$/.test(url));
    const twice = urls.find((url, at) => urls.indexOf(url) !== at);
    if (twice !== undefined) yield { key: `${section}.listen`, text: `has ${twice} twice` };
  }
  yield* upstreams(config);
}

/** The URLs of a section's listeners; none where it is switched off. */
export function listenersOf(
  config: Pick<Config, 'coap' | 'mqtt' | 'rest'>,
  section: 'coap' | 'mqtt' | 'rest',
): readonly string[] {
  if (section !== 'rest') return config[section].listen;
  return config.rest.listen === '' ? [] : [config.rest.listen];
}

/** Whether nobody gets any further than a handshake there without a key or a certificate that this gateway trusts. */
export function isKeyed(url: string, coap: Pick<Config['coap'], 'certFile' | 'clientCert'>): boolean {
  return url.startsWith('coaps:') && (coap.certFile === undefined || coap.clientCert === 'required');
}

function* exposure(config: Config, excused: boolean): Generator<CrossProblem> {
  if (excused) return;
  for (const section of ['coap', 'mqtt', 'rest'] as const) {
    const url = listenersOf(config, section).find((one) => !isLoopback(one) && !isKeyed(one, config.coap));
    if (url === undefined) continue;
    yield {
      key: `${section}.listen`,
      text: `${url} can be reached from other machines, and nothing says who may come in: add a user with \`holdfast user add NAME\`, or state auth.anonymous = true to let every device in, or false to let none in without a password`,
    };
  }
}

function* upstreams(config: Config): Generator<CrossProblem> {
  const names = new Map<string, number>();
  for (const [at, one] of config.upstream.entries()) {
    const key = `upstream.${at}`;
    // its queue is a name on disk, and some disks do not know case
    const first = names.get(one.name.toLowerCase());
    if (first !== undefined) yield { key: `${key}.name`, text: `"${one.name}" is the name of upstream.${first} too` };
    else names.set(one.name.toLowerCase(), at);
    if (one.password !== undefined && one.passwordFile !== undefined) {
      yield { key: `${key}.password_file`, text: 'password is set too: expected one of the two' };
    }
    if ((one.password ?? one.passwordFile) !== undefined && one.username === undefined) {
      yield { key: `${key}.username`, text: 'is missing: a password needs it' };
    }
    if (one.backoff.cap < one.backoff.base) {
      yield { key: `${key}.backoff.cap`, text: 'expected no less than backoff.base' };
    }
    yield* certificates(one, key);
  }
}

function* certificates(
  { certFile, keyFile }: { readonly certFile?: string; readonly keyFile?: string },
  key: string,
): Generator<CrossProblem> {
  if (certFile !== undefined && keyFile === undefined) {
    yield { key: `${key}.cert_file`, text: 'key_file is missing: expected both or none' };
  }
  if (keyFile !== undefined && certFile === undefined) {
    yield { key: `${key}.key_file`, text: 'cert_file is missing: expected both or none' };
  }
}
