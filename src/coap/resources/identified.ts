import type { Connection, Login } from '../../connections/index.ts';
import type { Endpoint } from '../message-layer.ts';
import type { QueryParameters } from './query.ts';

/**
 * The login of a client that proved to the transport who it is: it needs no password, and speaks for nobody else.
 * Undefined where the transport does not know.
 */
export function identifiedLogin({ identity }: Endpoint, { username }: QueryParameters): Login | undefined {
  if (identity === undefined) return undefined;
  return username === undefined || username === '' || username === identity
    ? { ok: true, username: identity }
    : { ok: false };
}

/** Whether a client that proved who it is may go on with that connection: another one's token is of no use to it. */
export function mayContinue({ identity }: Endpoint, connection: Connection): boolean {
  return identity === undefined || identity === connection.username;
}
