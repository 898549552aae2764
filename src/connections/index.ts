/**
 * Who may come in, who is connected, and what they may do. All in memory but the users file.
 *
 * One connection per client id (`deviceID@AppID`), whatever the protocol: a new valid login ends the older connection as
 * `taken_over`, so that a rebooted device is never locked out. A connection's token is 128 random bits. Only traffic that
 * was authenticated counts as a sign of life; one sweep a second on the monotonic clock finds those that went silent.
 *
 * Who comes and who goes, and why, is recorded in the log, refused logins too.
 *
 * Passwords are scrypt hashes in `users.toml`; a pair found right is remembered for a while under a keyed hash, so that a
 * check per request costs microseconds. Access rules: the first that matches decides.
 */
export { AccessRules, type AclAction, type AclRule, type Identity } from './acl.ts';
export { Authenticator, type Login, type PasswordCheck } from './authenticator.ts';
export {
  type Arrival,
  type Connection,
  type ConnectionJournal,
  ConnectionRegistry,
  type Protocol,
  tokenMatches,
} from './registry.ts';
export { UsersFile } from './users.ts';
