/**
 * Who may come in, who is connected, and what they may do. All in memory but the users file and the tokens.
 *
 * One connection per client id (`deviceID@AppID`), whatever the protocol: a new valid login ends the older connection as
 * `taken_over`, so that a rebooted device is never locked out. A connection's token is 128 random bits. Only traffic that
 * was authenticated counts as a sign of life; one sweep a second on the monotonic clock finds those that went silent. Where
 * the process itself was kept from running, the sweep comes late, and that time is nobody's silence.
 *
 * Who comes and who goes, and why, is recorded in the log, refused logins too.
 *
 * Passwords are scrypt hashes in `users.toml`; a pair found right is remembered for a while under a keyed hash, so that a
 * check per request costs microseconds. What was let in with a password and outlives a run (a kept CoAP client, an IM
 * token) carries the stamp of that password, and goes no further once its user has another, whenever it was changed.
 * Access rules: the first that matches decides.
 *
 * `psk.toml` (0600) has the pre-shared keys of devices that speak DTLS: an identity is a user name, and a device that proved
 * it needs no password. The keys are in the clear, as both ends need them.
 *
 * `tokens.jsonl` (0600) has the REST API's tokens and those of users: a line of JSON each, with the SHA-256 of the token and
 * never the token; on disk before the token is told to anybody; a later line about the same hash takes the place of an
 * earlier one. Damaged lines are skipped. The file is written anew once most of its lines are dead. A user's token is as
 * good as the password, for the client id that it is bound to. Wrong credentials are slowed per address.
 */
export { AccessRules, type AclAction, type AclRule, type Identity } from './acl.ts';
export { Authenticator, type Credentials, type Login, type PasswordCheck, type UserTokens } from './authenticator.ts';
export type { Arrival, Connection, Protocol } from './connection.ts';
export { PskFile } from './psk.ts';
export { type ConnectionJournal, ConnectionRegistry, digestOf, tokenMatches } from './registry.ts';
export { defaultThrottle, LoginThrottle, type ThrottleOptions } from './throttle.ts';
export {
  appTokenLifetime,
  type IssuedToken,
  type TokenBounds,
  TokenStore,
  userTokenLifetime,
} from './tokens.ts';
export { UsersFile } from './users.ts';
