import { describe, expect, it } from 'vitest';
import { Authenticator, type PasswordCheck, type UserTokens } from '../../src/connections/index.ts';

const passwords = (pretended: string[] = [], cached = false): PasswordCheck => ({
  has: (name) => name === 'ann',
  stampOf: (name) => (name === 'ann' ? 'stamp' : ''),
  verifyCached: (name, password) => (cached && name === 'ann' && password === 'right' ? 'ok' : undefined),
  verify: async (name, password) => (name !== 'ann' ? 'unknown' : password === 'right' ? 'ok' : 'wrong'),
  pretend: async (password) => void pretended.push(password),
});

const tokens: UserTokens = {
  hasLiveToken: (username) => username === 'tom' || username === 'ann',
  checkUserToken: (username, token, clientId) =>
    (username === 'tom' || username === 'ann') && token === 'token' && clientId !== 'other@app' ? 'ok' : 'wrong',
};

const refused = { ok: false };
const anonymous = { ok: true, username: '' };
const as = (username: string) => ({ ok: true, username });

describe('a login', () => {
  it.each<[string | undefined, string | undefined, object, object]>([
    // user, password, with anonymous true, with false
    [undefined, undefined, anonymous, refused],
    ['', 'x', anonymous, refused],
    ['ann', 'right', as('ann'), as('ann')],
    ['ann', 'token', as('ann'), as('ann')],
    ['ann', 'wrong', refused, refused],
    ['ann', undefined, refused, refused],
    ['tom', 'token', as('tom'), as('tom')],
    ['tom', 'wrong', refused, refused],
    ['tom', undefined, refused, refused],
    ['admin', 'public', anonymous, refused],
  ])('of %j with %j', async (username, password, open, closed) => {
    expect(
      await new Authenticator(passwords(), true, tokens).login({
        username: username,
        password: password,
        clientId: 'x@app',
        address: '192.0.2.1',
      }),
    ).toEqual(open);
    expect(
      await new Authenticator(passwords(), false, tokens).login({
        username: username,
        password: password,
        clientId: 'x@app',
        address: '192.0.2.1',
      }),
    ).toEqual(closed);
  });

  it('with a token that is bound to another client id is refused', async () => {
    expect(
      await new Authenticator(passwords(), true, tokens).login({
        username: 'tom',
        password: 'token',
        clientId: 'other@app',
        address: '192.0.2.1',
      }),
    ).toEqual(refused);
  });

  it('costs no turn of the event loop where the pair is known, or a token', () => {
    const authenticator = new Authenticator(passwords([], true), false, tokens);
    expect(
      authenticator.login({ username: 'ann', password: 'right', clientId: 'x@app', address: '192.0.2.1' }),
    ).toEqual(as('ann'));
    expect(
      authenticator.login({ username: 'tom', password: 'token', clientId: 'x@app', address: '192.0.2.1' }),
    ).toEqual(as('tom'));
  });

  it('under a name that is not there takes as long as a wrong password', async () => {
    const pretended: string[] = [];
    expect(
      await new Authenticator(passwords(pretended), false).login({
        username: 'nobody',
        password: 'secret',
        clientId: '',
        address: '192.0.2.1',
      }),
    ).toEqual(refused);
    expect(pretended).toEqual(['secret']);
    await new Authenticator(passwords(pretended), true).login({
      username: 'nobody',
      password: 'secret',
      clientId: '',
      address: '192.0.2.1',
    });
    expect(pretended).toEqual(['secret']);
  });
});
