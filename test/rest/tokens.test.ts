import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Api, identity, startApi } from './support/api.ts';

let api: Api;
beforeEach(async () => {
  api = await startApi({ passwords: { ann: 'right' } });
});
afterEach(() => api.stop());

const appPath = '/openapi/rm/app/token';
const userPath = '/openapi/rm/user/token';
const { appClientId, appClientSecret } = identity;

interface Issued {
  readonly access_token: string;
  readonly expires_in: number;
  readonly user: Record<string, unknown>;
}
const bodyOf = (json: unknown) => (json as { body: Issued }).body;

describe('an application token', () => {
  it('is the document’s example, and lets in', async () => {
    const answer = await api.post(appPath, { appClientId, appClientSecret }, {});
    expect(answer.json).toEqual({
      code: 200,
      msg: 'success',
      body: {
        access_token: expect.stringMatching(/^YWMt[A-Za-z0-9]{126}$/),
        application: identity.applicationUuid,
        expires_in: 5_184_000,
      },
    });
    expect(Object.keys(bodyOf(answer.json))).toEqual(['access_token', 'application', 'expires_in']);
    const { access_token } = bodyOf(answer.json);
    for (const authorization of [access_token, `Bearer ${access_token}`]) {
      expect((await api.get('/openapi/rm/users/appid', { authorization })).status).toBe(200);
    }
    expect((await api.get('/openapi/rm/users/appid', { authorization: `${access_token}x` })).status).toBe(403);
  });

  it.each<[unknown, string]>([
    ['', 'bad_json'],
    ['[1]', 'bad_json'],
    [{}, 'app_client_id can not be empty'],
    [{ appClientId: '', appClientSecret }, 'app_client_id can not be empty'],
    [{ appClientId: null, appClientSecret }, 'app_client_id can not be empty'],
    [{ appClientId: 'x' }, 'app_client_secret can not be empty'],
    [{ appClientId, appClientSecret: '' }, 'app_client_secret can not be empty'],
    [{ appClientId: 'x', appClientSecret }, 'app_client_id does not match'],
    [{ appClientId, appClientSecret: 'x' }, 'app_client_id does not match'],
    [{ appClientId: 1, appClientSecret }, 'app_client_id does not match'],
    [{ appClientId, appClientSecret: [appClientSecret] }, 'app_client_id does not match'],
  ])('is not given for %j: %s', async (given, msg) => {
    const answer = await api.post(appPath, given, {});
    expect(answer.text).toBe(JSON.stringify({ code: 400, msg, body: null }));
    expect(answer.status).toBe(400);
  });

  it('is asked for with any content type', async () => {
    const answer = await api.post(appPath, { appClientId, appClientSecret }, { 'content-type': 'text/plain' });
    expect(answer.status).toBe(200);
  });
});

describe('a user token', () => {
  it('is the document’s example, three days long', async () => {
    const answer = await api.post(userPath, { username: 'test1' });
    expect(answer.json).toEqual({
      code: 200,
      msg: 'success',
      body: {
        access_token: expect.stringMatching(/^[A-Za-z0-9]{27}$/),
        expires_in: 259_200,
        user: { type: 'user', created: expect.any(Number), username: 'test1', activated: true },
      },
    });
    expect(Object.keys(bodyOf(answer.json).user)).toEqual(['type', 'created', 'username', 'activated']);
    const { access_token } = bodyOf(answer.json);
    expect(api.tokens.checkUserToken('test1', access_token, 'any@app')).toBe('ok');
    // no key to the API
    expect((await api.get('/openapi/rm/users/appid', { authorization: access_token })).status).toBe(403);
  });

  it('is bound to the client id that is given', async () => {
    const { json } = await api.post(userPath, { username: 'test1', cid: 'test1@app' });
    const { access_token } = bodyOf(json);
    expect(api.tokens.checkUserToken('test1', access_token, 'test1@app')).toBe('ok');
    expect(api.tokens.checkUserToken('test1', access_token, 'other@app')).toBe('wrong');
  });

  it.each([
    [61, 61],
    [259_200, 259_200],
    [1e15, 259_200],
    [null, 259_200],
  ])('of %j seconds lasts %i', async (expires_in, expected) => {
    expect(bodyOf((await api.post(userPath, { username: 'test1', expires_in })).json).expires_in).toBe(expected);
  });

  const tooShort = 'expires_in should be greater than 60 seconds';
  it.each<[object, string]>([
    [{}, 'username can not be empty'],
    [{ username: null }, 'username can not be empty'],
    [{ username: '', password: 'x' }, 'username can not be empty'],
    [{ username: 'a b' }, 'invalid username'],
    [{ username: 'ü' }, 'invalid username'],
    [{ username: 'x'.repeat(65) }, 'invalid username'],
    [{ username: 7 }, 'invalid username'],
    [{ username: 'a', expires_in: 60 }, tooShort],
    [{ username: 'a', expires_in: -1 }, tooShort],
    [{ username: 'a', expires_in: 100.5 }, tooShort],
    [{ username: 'a', expires_in: '100' }, tooShort],
    [{ username: 'a', expires_in: 60, cid: 'x' }, tooShort],
    [{ username: 'a', cid: 'x' }, 'invalid clientid'],
    [{ username: 'a', cid: '' }, 'invalid clientid'],
    [{ username: 'a', cid: 5 }, 'invalid clientid'],
    [{ username: 'a', cid: 'x@other' }, "clientid and appid doesn't match"],
    [{ username: 'ann', password: '' }, 'password can not be empty'],
    [{ username: 'ann', password: 5 }, "username and password don't match"],
    [{ username: 'ann', password: 'wrong' }, "username and password don't match"],
    [{ username: 'bob', password: 'right' }, "username and password don't match"],
  ])('is not given for %j: %s', async (given, msg) => {
    const answer = await api.post(userPath, given);
    expect(answer.text).toBe(JSON.stringify({ code: 400, msg, body: null }));
  });
});

describe('an IM token', () => {
  it('is the document’s example; what is for the other kind does not count', async () => {
    const answer = await api.post(userPath, { username: 'ann', password: 'right', cid: 'x', expires_in: 1 });
    expect(answer.json).toEqual({
      code: 200,
      msg: 'success',
      body: {
        access_token: expect.stringMatching(/^YWMt[A-Za-z0-9]{126}$/),
        expires_in: 5_184_000,
        user: {
          created: expect.any(Number),
          modified: expect.any(Number),
          type: 'user',
          uuid: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
          username: 'ann',
          activated: true,
        },
      },
    });
    expect(api.tokens.checkUserToken('ann', bodyOf(answer.json).access_token, 'any@app')).toBe('ok');
    const again = await api.post(userPath, { username: 'ann', password: 'right' });
    expect(bodyOf(again.json).user.uuid).toBe(bodyOf(answer.json).user.uuid);
  });
});

describe('wrong credentials', () => {
  it('are slowed after a few, per address; right ones never are, whoever shares the address', async () => {
    const address = '127.0.0.1';
    const wrong = { authorization: 'wrong' };
    for (let n = 0; n < 5; n++) expect((await api.get('/openapi/rm/users/appid', wrong)).status).toBe(403);
    expect(api.throttle.delayFor(address)).toBeCloseTo(250, 3);
    const begun = performance.now();
    const slowed = await api.post(appPath, { appClientId, appClientSecret: 'wrong' }, {});
    expect(slowed).toMatchObject({ status: 400, json: { msg: 'app_client_id does not match' } });
    expect(performance.now() - begun).toBeGreaterThan(240);
    for (let n = 0; n < 20; n++) api.throttle.failed(address);
    while (api.throttle.delayFor(address) !== 'refuse');
    // held no longer, and told nothing else
    expect((await api.get('/openapi/rm/users/appid', wrong)).status).toBe(403);
    expect((await api.get('/openapi/rm/users/appid')).status).toBe(200);
    expect((await api.post(appPath, { appClientId, appClientSecret }, {})).status).toBe(200);
    // a password can be guessed: it is not even checked
    const password = await api.post(userPath, { username: 'ann', password: 'right' });
    expect(password).toMatchObject({ status: 500, json: { code: 500, msg: 'fail', body: null } });
    expect(Number(password.headers['retry-after'])).toBeGreaterThan(0);
  });

  it('of others do not hold up a user who logged in from there before', async () => {
    await api.post(userPath, { username: 'ann', password: 'right' });
    for (let n = 0; n < 20; n++) api.throttle.failed('127.0.0.1', 'bob');
    while (api.throttle.delayFor('127.0.0.1', 'bob') !== 'refuse');
    expect((await api.post(userPath, { username: 'ann', password: 'right' })).status).toBe(200);
  });
});
