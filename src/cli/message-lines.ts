import { isUtf8 } from 'node:buffer';
import { driving } from '../base/index.ts';
import type { Received } from '../client/index.ts';

const named: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** `topic payload`: one line, and nothing in it that a terminal would obey; other bytes than UTF-8 as `\xNN`. */
export function plainLine({ topic, filter, payload }: Received): string {
  return `${escaped(topic ?? filter ?? '')} ${isUtf8(payload) ? escaped(payload.toString()) : escapedBytes(payload)}\n`;
}

/** One JSON object on a line. `wall`: time of arrival, milliseconds. */
export function jsonLine({ payload, correlationData, ...rest }: Received, wall: number): string {
  const text = isUtf8(payload);
  const object = {
    time: new Date(wall).toISOString(),
    ...rest,
    payload: payload.toString(text ? 'utf8' : 'base64'),
    ...(text ? {} : { encoding: 'base64' }),
    ...(correlationData === undefined ? {} : { correlationData: correlationData.toString('base64') }),
  };
  return `${JSON.stringify(object).replace(driving, unicode)}\n`;
}

function escaped(text: string): string {
  return text.replace(driving, (one) => named[one] ?? (one < '\u0100' ? hex(one.charCodeAt(0)) : unicode(one)));
}

function escapedBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => (byte < 0x80 ? escaped(String.fromCharCode(byte)) : hex(byte))).join('');
}

const hex = (code: number): string => `\\x${code.toString(16).padStart(2, '0')}`;
const unicode = (one: string): string => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`;
