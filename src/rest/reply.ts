import type { ServerResponse } from 'node:http';
import { HoldfastError } from '../base/index.ts';
import type { Page } from './pages.ts';
import { bad, denied, errorEnvelope, Refusal, texts, tryLater } from './refusal.ts';
import type { RowStream } from './route.ts';

const json = 'application/json; charset=utf-8';
/** Rows are gathered up to this many characters before they are written. */
const flushAt = 65_536;

export function sendPage(response: ServerResponse, page: Page): void {
  if (page.policy !== undefined) response.setHeader('Content-Security-Policy', page.policy);
  send(response, page.status, page.type, page.text);
}

export function sendBody(response: ServerResponse, body: object): void {
  send(response, 200, json, JSON.stringify({ code: 200, msg: 'success', body }));
}

export function sendRefusal(response: ServerResponse, { code, message, retryAfter }: Refusal): void {
  if (retryAfter !== undefined) response.setHeader('Retry-After', String(retryAfter));
  send(response, code, json, errorEnvelope(code, message));
}

function send(response: ServerResponse, status: number, type: string, text: string): void {
  const bytes = Buffer.from(text);
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': bytes.length });
  response.end(bytes);
}

/**
 * Writes rows as they come, no faster than the client takes them. Fails as a whole where the first rows do; later, where
 * the status has been said, the error is thrown after the connection was cut: half an answer must not look like a whole one.
 */
export async function sendRows(
  response: ServerResponse,
  { before, name, rows }: RowStream,
  signal: AbortSignal,
): Promise<void> {
  let text = `${JSON.stringify({ code: 200, msg: 'success', body: before }).slice(0, -2)},${JSON.stringify(name)}:[`;
  let comma = '';
  try {
    for await (const row of rows) {
      text += comma + JSON.stringify(row);
      comma = ',';
      if (text.length < flushAt) continue;
      await write(response, text, signal);
      text = '';
      if (signal.aborted) return;
    }
    if (!response.headersSent) response.writeHead(200, { 'Content-Type': json });
    response.end(`${text}]}}`);
  } catch (thrown) {
    if (response.headersSent) response.destroy();
    throw thrown;
  }
}

/** Resolves when the next may be written, or nobody reads any more. */
function write(response: ServerResponse, text: string, signal: AbortSignal): Promise<void> {
  if (!response.headersSent) response.writeHead(200, { 'Content-Type': json });
  if (response.write(text) || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const go = () => {
      response.off('drain', go);
      signal.removeEventListener('abort', go);
      resolve();
    };
    response.on('drain', go);
    signal.addEventListener('abort', go);
  });
}

/** What a client is told of an error, whatever was thrown. The cause is for the log. */
export function refusalOf(thrown: unknown): Refusal {
  if (thrown instanceof Refusal) return thrown;
  if (!(thrown instanceof HoldfastError)) return new Refusal(500, texts.failed, { cause: thrown });
  if (thrown.transient) return tryLater(thrown);
  switch (thrown.code) {
    case 'access_denied':
      return denied();
    case 'invalid_topic':
      return bad('error_topics_format');
    case 'payload_too_large':
      return bad(texts.tooLarge);
    case 'invalid_client_id':
      return bad('invalid clientid');
    default:
      return new Refusal(500, texts.failed, { cause: thrown });
  }
}
