/** Checks of URLs by scheme. Each gives what is wrong with a text, or undefined where nothing is. */

function problem(text: string, schemes: readonly string[], local: boolean): string | undefined {
  const scheme = /^([a-z]+):\/\//.exec(text)?.[1];
  if (scheme === undefined || !schemes.includes(scheme))
    return `begins with none of ${schemes.map((it) => `${it}://`).join(', ')}`;
  const parts = /^\/\/(?:(.*)@)?(\[[^\]]*\]|[^:/?#@]*)(?::(\d+))?([/?#].*)?$/.exec(text.slice(scheme.length + 1));
  if (parts === null) return 'not host:port';
  if (parts[1] !== undefined) return 'no user and password in a URL: username and password have their own keys';
  if (parts[2] === '' || parts[2] === '[]') return 'no host';
  if (!URL.canParse(text.replace(/^[a-z]+/, 'http'))) return 'not a host and a port';
  if (parts[3] === '0' && !local) return 'no port 0';
  if (parts[4] !== undefined && parts[4] !== '/' && !scheme.startsWith('ws')) return 'nothing may follow the port';
  return undefined;
}

export function coapUrlProblem(text: string): string | undefined {
  return problem(text, ['coap', 'coaps'], true);
}

export function mqttUrlProblem(text: string): string | undefined {
  return problem(text, ['mqtt', 'mqtts', 'ws', 'wss'], true);
}

export function restUrlProblem(text: string): string | undefined {
  return text === '' ? undefined : problem(text, ['http', 'https'], true);
}

export function upstreamUrlProblem(text: string): string | undefined {
  return problem(text, ['mqtt', 'mqtts', 'ws', 'wss'], false);
}

/** Of a gateway to talk to. */
export function gatewayUrlProblem(text: string): string | undefined {
  return problem(text, ['mqtt', 'mqtts', 'ws', 'wss', 'coap'], false);
}

/** Whether a valid URL's host is this machine alone. */
export function isLoopback(url: string): boolean {
  const host = new URL(url.replace(/^[a-z]+/, 'http')).hostname;
  return host === 'localhost' || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host);
}
