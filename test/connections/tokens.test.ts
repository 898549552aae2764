import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type TokenBounds, TokenStore } from '../../src/connections/index.ts';
import { Metrics, silentLogger } from '../../src/telemetry/index.ts';
import { FakeClock } from '../support/fake-clock.ts';

let directory = '';
let clock: FakeClock;
let quality: 'synced' | 'unsynced';
let metrics: Metrics;
const opened: TokenStore[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'holdfast-tokens-'));
  clock = new FakeClock();
  quality = 'synced';
});
afterEach(async () => {
  for (const store of opened.splice(0)) await store.stop();
  rmSync(directory, { recursive: true, force: true });
});

const path = () => join(directory, 'state', 'tokens.jsonl');
const lines = () => readFileSync(path(), 'utf8').trimEnd().split('\n');

/** A store over the file, as after a start; those opened before are as after kill -9: nobody stopped them. */
async function open(bounds?: TokenBounds): Promise<TokenStore> {
  metrics = new Metrics();
  const store = new TokenStore({
    path: path(),
    clock,
    quality: () => quality,
    logger: silentLogger,
    metrics,
    ...(bounds === undefined ? {} : { bounds }),
  });
  opened.push(store);
  await store.start();
  return store;
}

const day = 86_400_000;
const user = (store: TokenStore, given: { username?: string; clientId?: string; expiresIn?: number } = {}) =>
  store.createUserToken({ username: 'ann', expiresIn: 1_000, ...given });

describe('a token', () => {
  it('has its length and letters, and is never the same', async () => {
    const store = await open();
    const app = await store.createAppToken();
    expect(app).toEqual({ token: expect.stringMatching(/^YWMt[A-Za-z0-9]{126}$/), expiresIn: 5_184_000 });
    expect(await store.createImToken('ann', 'stamp')).toEqual({
      token: expect.stringMatching(/^YWMt[A-Za-z0-9]{126}$/),
      expiresIn: 5_184_000,
    });
    const made = await Promise.all(Array.from({ length: 500 }, () => user(store)));
    expect(new Set(made.map(({ token }) => token)).size).toBe(500);
    const letters = new Set(made.flatMap(({ token }) => [...token]));
    expect(letters.size).toBe(62);
    for (const { token } of made) expect(token).toMatch(/^[A-Za-z0-9]{27}$/);
  });

  it('is good for what it was made for, and for nothing else', async () => {
    const store = await open();
    const { token: app } = await store.createAppToken();
    const { token } = await user(store);
    expect(store.isAppToken(app)).toBe(true);
    expect(store.isAppToken(token)).toBe(false);
    expect(store.isAppToken('')).toBe(false);
    expect(store.checkUserToken('ann', token, 'x@app')).toBe('ok');
    expect(store.checkUserToken('ann', token, '')).toBe('ok');
    expect(store.checkUserToken('bob', token, 'x@app')).toBe('wrong');
    expect(store.checkUserToken('ann', app, 'x@app')).toBe('wrong');
    expect(store.checkUserToken('ann', `${token}x`, 'x@app')).toBe('wrong');
  });

  it('that is bound lets in with its client id alone', async () => {
    const store = await open();
    const { token } = await user(store, { clientId: 'x@app' });
    expect(store.checkUserToken('ann', token, 'x@app')).toBe('ok');
    expect(store.checkUserToken('ann', token, 'y@app')).toBe('wrong');
    expect(store.checkUserToken('ann', token, '')).toBe('wrong');
  });

  it('ends when its time is over', async () => {
    const store = await open();
    const { token } = await user(store, { expiresIn: 100 });
    expect(store.hasLiveToken('ann')).toBe(true);
    clock.advance(99_999);
    expect(store.checkUserToken('ann', token, '')).toBe('ok');
    clock.advance(1);
    expect(store.checkUserToken('ann', token, '')).toBe('wrong');
    expect(store.hasLiveToken('ann')).toBe(false);
    clock.advance(day);
    expect(metrics.value('holdfast_tokens', { kind: 'user' })).toBe(0);
  });

  it('that was made on a good clock does not end on one that cannot be believed', async () => {
    const store = await open();
    const { token } = await user(store, { expiresIn: 100 });
    quality = 'unsynced';
    clock.advance(10 * day);
    expect(store.checkUserToken('ann', token, '')).toBe('ok');
    expect((await open()).checkUserToken('ann', token, '')).toBe('ok');
    quality = 'synced';
    expect(store.checkUserToken('ann', token, '')).toBe('wrong');
  });

  it('never ends on a clock that cannot be believed; made on one, it begins to age once it can', async () => {
    quality = 'unsynced';
    const store = await open();
    const { token } = await user(store, { expiresIn: 100 });
    clock.advance(10 * day);
    expect(store.checkUserToken('ann', token, '')).toBe('ok');
    quality = 'synced';
    clock.advance(60_000);
    expect(store.checkUserToken('ann', token, '')).toBe('ok');
    await store.stop();
    const after = await open();
    expect(after.checkUserToken('ann', token, '')).toBe('ok');
    clock.advance(101_000);
    expect(after.checkUserToken('ann', token, '')).toBe('wrong');
  });
});

describe('the file', () => {
  it('is on disk when a token is told, readable by its owner alone, without a token in it', async () => {
    const store = await open();
    const made = await Promise.all([store.createAppToken(), user(store), store.createImToken('bob', 'stamp')]);
    const text = readFileSync(path(), 'utf8');
    for (const { token } of made) expect(text).not.toContain(token);
    expect(statSync(path()).mode & 0o777).toBe(0o600);
    const after = await open();
    expect(after.isAppToken(made[0].token)).toBe(true);
    expect(after.checkUserToken('ann', made[1].token, '')).toBe('ok');
    expect(after.checkUserToken('bob', made[2].token, '')).toBe('ok');
  });

  it('takes many at once', async () => {
    const store = await open();
    const made = await Promise.all(Array.from({ length: 2_000 }, () => user(store)));
    const after = await open();
    for (const { token } of made) expect(after.checkUserToken('ann', token, '')).toBe('ok');
  });

  it('loses a damaged line alone, and one that was cut off', async () => {
    const first = await open();
    const { token: before } = await user(first);
    appendFileSync(
      path(),
      'not JSON\n{"kind":"user"}\n{"kind":"root","hash":"x"}\n[]\nnull\n{"kind":"app","hash":"AAAA',
    );
    const second = await open();
    expect(second.checkUserToken('ann', before, '')).toBe('ok');
    const { token: later } = await user(second);
    const third = await open();
    expect(third.checkUserToken('ann', before, '')).toBe('ok');
    expect(third.checkUserToken('ann', later, '')).toBe('ok');
  });

  it('that cannot be read is moved aside: the gateway starts', async () => {
    await mkdir(path(), { recursive: true });
    const store = await open();
    const { token } = await user(store);
    expect(store.checkUserToken('ann', token, '')).toBe('ok');
    expect(statSync(`${path()}.corrupt`).isDirectory()).toBe(true);
  });

  it('that cannot be written gives no token', async () => {
    const store = await open();
    writeFileSync(join(directory, 'state'), 'a file where the directory should be');
    await expect(store.createAppToken()).rejects.toMatchObject({ code: 'store_failed' });
    expect(metrics.value('holdfast_tokens', { kind: 'app' })).toBe(0);
    rmSync(join(directory, 'state'));
    const { token } = await store.createAppToken();
    expect(store.isAppToken(token)).toBe(true);
  });

  it('is written anew once most of it is dead, and loses nothing that lives', async () => {
    const store = await open();
    const { token: kept } = await store.createAppToken();
    for (let round = 0; round < 6; round++) {
      await Promise.all(Array.from({ length: 300 }, () => user(store, { expiresIn: 61 })));
      clock.advance(120_000);
    }
    const made = await Promise.all(Array.from({ length: 10 }, () => user(store)));
    await store.stop();
    expect(lines().length).toBeLessThan(1_000);
    const after = await open();
    expect(after.isAppToken(kept)).toBe(true);
    for (const { token } of made) expect(after.checkUserToken('ann', token, '')).toBe('ok');
  });
});

describe('the number of tokens', () => {
  it('is bounded: the one unused for longest goes first, is counted, and does not come back', async () => {
    const store = await open({ app: 3, user: 2 });
    const app: string[] = [];
    for (let n = 0; n < 3; n++) app.push((await store.createAppToken()).token);
    expect(store.isAppToken(app[0] ?? '')).toBe(true);
    app.push((await store.createAppToken()).token);
    await store.stop();
    const expected = [true, false, true, true];
    expect(app.map((token) => store.isAppToken(token))).toEqual(expected);
    expect(metrics.value('holdfast_tokens_evicted_total')).toBe(1);
    const after = await open({ app: 10, user: 10 });
    expect(app.map((token) => after.isAppToken(token))).toEqual(expected);
  });

  it('shrinks where a user’s password is another: what was given for it is taken back, also by a later run', async () => {
    const given = await open();
    const { token: gone } = await given.createImToken('ann', 'former');
    const { token: own } = await user(given);
    const { token: stays } = await given.createImToken('bob', 'stamp');
    await given.stop();
    const stampOf = (name: string) => (name === 'bob' ? 'stamp' : 'later');
    const store = await open();
    expect(store.checkUserToken('ann', gone, '')).toBe('ok');
    store.dropStale(stampOf);
    await store.stop();
    for (const one of [store, await open()]) {
      expect(one.checkUserToken('ann', gone, '')).toBe('wrong');
      expect(one.checkUserToken('ann', own, '')).toBe('ok');
      expect(one.checkUserToken('bob', stays, '')).toBe('ok');
    }
  });
});

describe('the store', () => {
  it('gives nothing before its start and after its stop, and leaves no timer', async () => {
    const store = await open();
    await store.stop();
    expect(clock.armed).toEqual([]);
    await expect(store.createAppToken()).rejects.toMatchObject({ code: 'unavailable' });
  });
});
