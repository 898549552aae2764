/** What a terminal obeys, ends a line, or turns the direction of what follows. */
export const driving = /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu;

/** Host and port of a URL of any scheme that has them; brackets of an IPv6 address are taken off. */
export function hostAndPort(url: string, defaultPort: number): { readonly host: string; readonly port: number } {
  const parsed = new URL(url.replace(/^[a-z]+:/, 'http:'));
  // a port that is http's own default is dropped by the parser
  const port =
    parsed.port === '' ? (/^\w+:\/\/[^/?#]*:80(?:[/?#]|$)/.test(url) ? 80 : defaultPort) : Number(parsed.port);
  return { host: parsed.hostname.replace(/^\[|\]$/g, ''), port };
}
