import type { IncomingMessage } from 'node:http';
import { bad, Refusal, texts } from './refusal.ts';
import type { Given } from './route.ts';

/** How a body came: as bytes, or not as a whole. */
export type Body = Buffer | 'too large' | 'cut off';

export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** Reads a body of up to `limit` bytes; `keep` false: only to be rid of it. What is beyond is not waited for. */
export function readBody(request: IncomingMessage, limit: number, keep: boolean): Promise<Body> {
  if (Number(request.headers['content-length'] ?? 0) > limit) return Promise.resolve('too large');
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > limit) {
        chunks.length = 0;
        resolve('too large');
      } else if (keep) chunks.push(chunk);
    });
    request.on('end', () => resolve(Buffer.concat(chunks)));
    request.on('close', () => resolve('cut off'));
    request.on('error', () => resolve('cut off'));
  });
}

/**
 * The members of a JSON object; null counts as missing.
 * @throws Refusal 400 `bad_json`, 413.
 */
export function givenInBody(body: Body): Given {
  if (body === 'too large') throw new Refusal(413, texts.tooLarge);
  if (body === 'cut off') throw bad(texts.badJson);
  let read: unknown;
  try {
    read = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (thrown) {
    throw new Refusal(400, texts.badJson, { cause: thrown });
  }
  if (typeof read !== 'object' || read === null || Array.isArray(read)) throw bad(texts.badJson);
  const members = new Map<string, unknown>(Object.entries(read));
  return (name) => members.get(name) ?? undefined;
}

/** A value that is malformed as whatever it is given for. */
const undecodable = '\u0000';

/** The parameters of a query string: the first that is not empty of each name; an empty one counts as left out. */
export function givenInQuery(query: string): Given {
  const found = new Map<string, string>();
  for (const pair of asMeant(query).split('&')) {
    const equals = pair.indexOf('=');
    if (equals === -1) continue;
    const name = decoded(pair.slice(0, equals));
    const value = decoded(pair.slice(equals + 1));
    if (value !== '' && !found.has(name)) found.set(name, value);
  }
  return (name) => found.get(name);
}

/** In the document's examples `&currentPage` has become `¤tPage`: `&curren` is an HTML entity. */
function asMeant(query: string): string {
  return query.replace(/(^|&)(pageSize=\d+)%C2%A4tPage=/i, '$1$2&currentPage=');
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return undecodable;
  }
}
