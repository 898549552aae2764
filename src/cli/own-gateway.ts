import { HoldfastError } from '../base/index.ts';
import type { Config } from '../config/index.ts';

/**
 * Where the gateway that the configuration describes can be talked to from this machine: its first MQTT listener, or the
 * first for plain CoAP. `ask` is asked, once, for a port that the daemon found for itself.
 * @throws HoldfastError `unavailable` where there is none.
 */
export async function ownUrl(
  config: Config,
  coap: boolean,
  ask: (config: Config) => Promise<unknown>,
): Promise<string> {
  const { mqtt } = config;
  const overCoap = coap || mqtt.listen.length === 0;
  const url = overCoap ? config.coap.listen.find((one) => one.startsWith('coap:')) : mqtt.listen[0];
  if (url === undefined) throw new HoldfastError('unavailable', `${none(config, coap)}; --to names another gateway`);
  return reachable(partsOf(url).port === '0' ? await found(config, url, ask) : url);
}

function none({ coap: { listen } }: Config, coap: boolean): string {
  const what = coap
    ? 'the configuration has no coap.listen'
    : 'the configuration has neither mqtt.listen nor coap.listen';
  return listen.length === 0 ? what : 'coap.listen has coaps:// (DTLS) alone, which is not spoken by this command';
}

async function found(config: Config, url: string, ask: (config: Config) => Promise<unknown>): Promise<string> {
  const answer = await ask(config);
  const listeners: unknown = typeof answer === 'object' && answer !== null && 'listeners' in answer && answer.listeners;
  const own = partsOf(url);
  const one = (Array.isArray(listeners) ? listeners : []).find((listener: unknown) => {
    if (typeof listener !== 'string' || !URL.canParse(listener)) return false;
    const { scheme, host } = partsOf(listener);
    return scheme === own.scheme && host === own.host;
  });
  if (typeof one === 'string') return one;
  throw new HoldfastError(
    'unavailable',
    `the port of ${url} is the daemon’s choice, and no daemon answers on ${config.stateDir} that could tell; --to names it`,
  );
}

/** A listener at all addresses is at the loopback address of its family too. */
function reachable(url: string): string {
  const { host } = partsOf(url);
  const loopback = host === '0.0.0.0' ? '127.0.0.1' : host === '[::]' ? '[::1]' : undefined;
  return loopback === undefined ? url : url.replace(/^([a-z]+:\/\/)(?:\[[^\]]*\]|[^:/?#]*)/, `$1${loopback}`);
}

function partsOf(url: string): { readonly scheme: string; readonly host: string; readonly port: string } {
  const { hostname, port } = new URL(url.replace(/^[a-z]+:/, 'http:'));
  return { scheme: url.slice(0, url.indexOf(':')), host: hostname, port };
}
