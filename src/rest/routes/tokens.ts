import { createHash, timingSafeEqual } from 'node:crypto';
import { userTokenLifetime } from '../../connections/index.ts';
import { clientIdProblem } from '../parameters.ts';
import { bad, tryLater } from '../refusal.ts';
import { type Caller, type Context, type Parameter, type Route, route } from '../route.ts';
import * as is from '../schemas.ts';
import { pause, slowWrongSecret } from '../throttling.ts';

const noMatch = 'app_client_id does not match';
const wrongPair = "username and password don't match";
const tooShort = 'expires_in should be greater than 60 seconds';
const shortest = 60;

function credential(doc: string, missing: string): Parameter<string> {
  return {
    doc,
    required: true,
    schema: is.string,
    check: (value) => {
      if (value === undefined || value === '') return { wrong: missing };
      return typeof value === 'string' ? { value } : { wrong: noMatch };
    },
  };
}

const appToken = route({
  id: 'createAppToken',
  method: 'POST',
  paths: ['/openapi/rm/app/token'],
  summary: 'Application token, for the Authorization header of every other endpoint.',
  authorized: false,
  load: 'light',
  parameters: {
    appClientId: credential('Shown by `holdfast credentials`.', 'app_client_id can not be empty'),
    appClientSecret: credential('Shown by `holdfast credentials`.', 'app_client_secret can not be empty'),
  },
  answer: is.object({ access_token: is.string, application: is.string, expires_in: is.integer }),
  errors: ['app_client_id can not be empty', 'app_client_secret can not be empty', noMatch],
  handle: async ({ appClientId, appClientSecret }, context, caller) => {
    const { identity, tokens } = context;
    // both are always compared, so that the time says nothing either
    const right = [same(appClientId, identity.appClientId), same(appClientSecret, identity.appClientSecret)];
    if (right.includes(false)) {
      await slowWrongSecret(context, caller);
      throw bad(noMatch);
    }
    const { token, expiresIn } = await tokens.createAppToken();
    return { access_token: token, application: identity.applicationUuid, expires_in: expiresIn };
  },
});

const username: Parameter<string> = {
  doc: 'User name: 1 to 64 letters, digits, _ - .',
  required: true,
  schema: { type: 'string', pattern: '^[A-Za-z0-9_.-]{1,64}$' },
  example: 'test1',
  check: (value) => {
    if (value === undefined || value === '') return { wrong: 'username can not be empty' };
    return typeof value === 'string' && /^[A-Za-z0-9_.-]{1,64}$/.test(value)
      ? { value }
      : { wrong: 'invalid username' };
  },
};

const password: Parameter<string | undefined> = {
  doc: 'Password of a local user: an IM token is given, expires_in and cid do not count.',
  required: false,
  schema: is.string,
  check: (value) => {
    if (value === '') return { wrong: 'password can not be empty' };
    return value === undefined || typeof value === 'string' ? { value } : { wrong: wrongPair };
  },
};

const expiresIn: Parameter<number> = {
  doc: 'Seconds; more is cut to the maximum.',
  required: false,
  schema: { type: 'integer', exclusiveMinimum: shortest, maximum: userTokenLifetime, default: userTokenLifetime },
  check: (value, { given }) => {
    if (value === undefined || given('password') !== undefined) return { value: userTokenLifetime };
    if (typeof value !== 'number' || !Number.isInteger(value) || value <= shortest) return { wrong: tooShort };
    return { value: Math.min(value, userTokenLifetime) };
  },
};

const cid: Parameter<string> = {
  doc: 'The one client id that may log in with the token; any where it is left out.',
  required: false,
  schema: is.string,
  example: 'test1@a0cta0',
  check: (value, { appId, given }) => {
    if (value === undefined || given('password') !== undefined) return { value: '' };
    const wrong = clientIdProblem(value, appId);
    return wrong === undefined ? { value: value as string } : { wrong };
  },
};

const userToken = route({
  id: 'createUserToken',
  method: 'POST',
  paths: ['/openapi/rm/user/token'],
  summary: 'User token: an MQTT or CoAP client’s password beside its user name.',
  authorized: true,
  load: 'light',
  parameters: { username, expires_in: expiresIn, cid, password },
  answer: is.object({ access_token: is.string, expires_in: is.integer, user: { type: 'object' } }),
  errors: [
    'username can not be empty',
    'invalid username',
    tooShort,
    'invalid clientid',
    "clientid and appid doesn't match",
    'password can not be empty',
    wrongPair,
  ],
  handle: async (values, context, caller) => {
    const { tokens, passwords, identity, clock } = context;
    const name = values.username;
    if (values.password !== undefined) {
      await checkPassword(name, values.password, context, caller);
      const { token, expiresIn } = await tokens.createImToken(name, passwords.stampOf(name));
      const now = clock.wall();
      const uuid = uuidOf(identity.applicationUuid, name);
      const user = { created: now, modified: now, type: 'user', uuid, username: name, activated: true };
      return { access_token: token, expires_in: expiresIn, user };
    }
    const { token, expiresIn } = await tokens.createUserToken({
      username: name,
      clientId: values.cid,
      expiresIn: values.expires_in,
    });
    const user = { type: 'user', created: clock.wall(), username: name, activated: true };
    return { access_token: token, expires_in: expiresIn, user };
  },
});

/** Passwords can be guessed, so an attempt waits before it is checked. */
async function checkPassword(name: string, secret: string, context: Context, caller: Caller): Promise<void> {
  const { passwords, throttle, clock } = context;
  if (passwords.verifyCached(name, secret) === 'ok') return;
  const delay = throttle.delayFor(caller.address, name);
  if (delay === 'refuse') throw tryLater(new Error('too many attempts with wrong passwords from this address'), 8);
  await pause(clock, delay, caller.signal);
  const outcome = await passwords.verify(name, secret);
  if (outcome === 'ok') {
    throttle.succeeded(caller.address, name);
    return;
  }
  throttle.failed(caller.address, name);
  if (outcome === 'unknown') await passwords.pretend(secret);
  throw bad(wrongPair);
}

function same(given: string, right: string): boolean {
  return timingSafeEqual(createHash('sha256').update(given).digest(), createHash('sha256').update(right).digest());
}

/** A user's UUID is the same for ever: version 5 (RFC 9562 §5.5), the application's UUID as the name space. */
function uuidOf(application: string, name: string): string {
  const digest = createHash('sha1')
    .update(Buffer.from(application.replaceAll('-', ''), 'hex'))
    .update(name)
    .digest();
  digest[6] = ((digest[6] ?? 0) & 0x0f) | 0x50;
  digest[8] = ((digest[8] ?? 0) & 0x3f) | 0x80;
  const hex = digest.toString('hex', 0, 16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

export const tokenRoutes: readonly Route[] = [appToken, userToken];
