import { HoldfastError } from '../base/index.ts';

const maxLength = 64;

/**
 * The one identity of a client: `deviceID@AppID`. A bare deviceID gets the gateway's own AppID.
 * @throws HoldfastError `invalid_client_id` with a text for the client.
 */
export function fullClientId(given: string, appId: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  if (/[\u0000-\u001f\u007f]/.test(given) || !given.isWellFormed()) {
    throw new HoldfastError('invalid_client_id', 'invalid clientid: control characters are not allowed');
  }
  const at = given.indexOf('@');
  const full = at === -1 ? `${given}@${appId}` : given;
  if (at === 0 || given === '') throw new HoldfastError('invalid_client_id', 'invalid clientid: empty');
  if (full.length > maxLength) {
    throw new HoldfastError(
      'invalid_client_id',
      `invalid clientid: longer than ${maxLength} characters with its AppID`,
    );
  }
  if (full.indexOf('@') !== full.lastIndexOf('@')) {
    throw new HoldfastError('invalid_client_id', 'invalid clientid: more than one @');
  }
  if (full.slice(full.indexOf('@') + 1) !== appId) {
    throw new HoldfastError('invalid_client_id', "clientid and appid doesn't match");
  }
  return full;
}

/** The deviceID of a full client id. */
export function deviceIdOf(fullId: string): string {
  const at = fullId.lastIndexOf('@');
  return at === -1 ? fullId : fullId.slice(0, at);
}
