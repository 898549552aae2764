/**
 * The catalogue of errors that cross a part's surface. `transient` errors may be retried as they are;
 * `permanent` ones fail again until something else changes.
 */
export const errorCatalogue = {
  /** A configuration that cannot be used; the text says where and what was expected. */
  bad_configuration: 'permanent',
  /** A name that is no valid MQTT topic name or filter. */
  invalid_topic: 'permanent',
  /** A value that does not parse; the text says which and what was expected. */
  bad_request: 'permanent',
  /** A client id that is empty, too long, malformed, or of another application. */
  invalid_client_id: 'permanent',
  /** A login that was checked and is wrong. */
  not_authorized: 'permanent',
  /** A refusal by the access rules. */
  access_denied: 'permanent',
  /** A payload above the configured limit. */
  payload_too_large: 'permanent',
  /** A bound on clients, subscriptions or topics is reached. */
  limit_reached: 'transient',
  /** More requests than the gateway can take now. */
  overloaded: 'transient',
  /** The store has no room, and the policy is to refuse. */
  store_full: 'transient',
  /** The store failed to write; nothing was acknowledged. */
  store_failed: 'transient',
  /** The gateway, or a part of it, is stopping or not yet started. */
  unavailable: 'transient',
  /** A store that a later version wrote, in a format that this one does not know. */
  later_format: 'permanent',
  /** A part that did not start; the text says which and why. */
  start_failed: 'permanent',
} as const;

export type ErrorCode = keyof typeof errorCatalogue;

/** An error with a code from the catalogue. The message is for a log; what a client is told is the edges' choice. */
export class HoldfastError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'HoldfastError';
    this.code = code;
  }

  /** Whether the same thing may succeed later without a change. */
  get transient(): boolean {
    return errorCatalogue[this.code] === 'transient';
  }
}

/** The text of anything that was thrown, for a log line. */
export function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  return thrown.cause instanceof Error && !thrown.message.includes(thrown.cause.message)
    ? `${thrown.message}: ${thrown.cause.message}`
    : thrown.message;
}
