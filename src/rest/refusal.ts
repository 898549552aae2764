/** A request that is answered with an error: HTTP status and `code`, and the text in `msg`. */
export class Refusal extends Error {
  readonly code: number;
  /** Seconds after which to try again. */
  readonly retryAfter: number | undefined;

  constructor(code: number, text: string, options: ErrorOptions & { readonly retryAfter?: number } = {}) {
    super(text, options);
    this.name = 'Refusal';
    this.code = code;
    this.retryAfter = options.retryAfter;
  }
}

export const texts = {
  denied: 'access deny',
  notFound: 'page not found',
  failed: 'fail',
  badJson: 'bad_json',
  tooLarge: 'payload_too_larger',
} as const;

export const denied = (): Refusal => new Refusal(403, texts.denied);
export const notFound = (): Refusal => new Refusal(404, texts.notFound);
export const bad = (text: string): Refusal => new Refusal(400, text);

/** The gateway cannot now; the same request may succeed later. */
export function tryLater(cause: unknown, seconds = 1): Refusal {
  return new Refusal(500, texts.failed, { cause, retryAfter: seconds });
}

/** The envelope of an error: 403 has no `body`, as in the document's examples. */
export function errorEnvelope(code: number, text: string): string {
  return JSON.stringify(code === 403 ? { code, msg: text } : { code, msg: text, body: null });
}
