import type { CoapResponse } from '../message-layer.ts';
import { codes } from './replies.ts';

const linkFormat = 40;

interface Link {
  readonly href: string;
  readonly attributes: Readonly<Record<string, string>>;
}

/** Only what the API document shows to everybody: an answer to a stranger must not be much larger than the question. */
const links: readonly Link[] = [
  { href: '/mqtt/connection', attributes: { rt: 'mqtt.connection' } },
  { href: '/ps', attributes: { rt: 'core.ps', ct: '40' } },
];

/** `/.well-known/core`, RFC 6690, with the filters of its §4.1: `?rt=core.ps`, `?href=/mqtt*`. */
export function discover(query: readonly string[]): CoapResponse {
  const filters = query.map((option) => {
    const split = option.indexOf('=');
    return split === -1 ? undefined : ([option.slice(0, split), option.slice(split + 1)] as const);
  });
  const listed = links.filter((link) => filters.every((filter) => filter === undefined || matches(link, filter)));
  return { code: codes.content, contentFormat: linkFormat, payload: listed.map(format).join(',') };
}

function matches(link: Link, [name, wanted]: readonly [string, string]): boolean {
  const value = name === 'href' ? link.href : Object.hasOwn(link.attributes, name) ? link.attributes[name] : undefined;
  if (value === undefined) return false;
  const candidates = name === 'href' ? [value] : value.split(' ');
  return candidates.some((one) => (wanted.endsWith('*') ? one.startsWith(wanted.slice(0, -1)) : one === wanted));
}

function format(link: Link): string {
  const attributes = Object.entries(link.attributes).map(([name, value]) =>
    name === 'ct' ? `;ct=${value}` : `;${name}="${value}"`,
  );
  return `<${link.href}>${attributes.join('')}`;
}
