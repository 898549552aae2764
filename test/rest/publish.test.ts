import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Api, startApi } from './support/api.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());
beforeEach(() => {
  api.publisher.published.length = 0;
});

const good = { topics: ['msg', 'll'], clientid: 'clientid0@app', payload: "{'msg':'123'}" };

describe('a publish', () => {
  it('is the document’s example: an id per topic, in their order, on either path', async () => {
    for (const path of ['/openapi/v1/rm/chat/publish', '/v1/rm/chat/publish']) {
      const answer = await api.post(path, good);
      expect(answer.json).toEqual({
        code: 200,
        msg: 'success',
        body: { mids: [expect.stringMatching(/^04D2B2164800200\d$/), expect.stringMatching(/^04D2B2164800200\d$/)] },
      });
    }
    const [messages] = api.publisher.published;
    expect(messages?.map(({ topic }) => topic)).toEqual(['msg', 'll']);
    expect(messages?.[0]).toEqual({
      topic: 'msg',
      payload: Buffer.from("{'msg':'123'}"),
      qos: 0,
      retain: false,
      expiry: 0,
      origin: 'rest',
      upstream: '',
      clientId: 'clientid0@app',
      username: '',
      connection: 0n,
    });
  });

  it.each<[object, object]>([
    [
      { qos: 2, retain: 1 },
      { qos: 2, retain: true },
    ],
    [{ expire: 28_000 }, { expiry: 86_400 }],
    [{ expire: -1 }, { expiry: 86_400 }],
    [{ expire: 100_000 }, { expiry: 100_000 }],
    [{ expire: 1e9 }, { expiry: 259_200 }],
    [
      { qos: null, retain: null, expire: null, encoding: null },
      { qos: 0, retain: false, expiry: 0 },
    ],
    [
      { payload: '', retain: 1 },
      { payload: Buffer.alloc(0), retain: true },
    ],
    [
      { payload: '', retain: 1, encoding: 'base64' },
      { payload: Buffer.alloc(0), retain: true },
    ],
    [{ payload: '/+8=', encoding: 'base64' }, { payload: Buffer.from([0xff, 0xef]) }],
    [{ payload: '温度' }, { payload: Buffer.from('温度') }],
    [{ payload: 'x'.repeat(1_000) }, { payload: Buffer.from('x'.repeat(1_000)) }],
    [{ topics: ['é'.repeat(512)] }, { topic: 'é'.repeat(512) }],
    [{ clientid: '温度@app' }, { clientId: '温度@app' }],
  ])('with %j is taken as %j', async (given, expected) => {
    expect((await api.post('/openapi/v1/rm/chat/publish', { ...good, ...given })).status).toBe(200);
    expect(api.publisher.published[0]?.[0]).toMatchObject(expected);
  });

  it('goes to 32 topics at most, one of them twice where that is asked for', async () => {
    const topics = Array.from({ length: 32 }, (_, n) => `${n % 31}`);
    const { json } = await api.post('/openapi/v1/rm/chat/publish', { ...good, topics });
    expect((json as { body: { mids: string[] } }).body.mids).toHaveLength(32);
    expect(api.publisher.published[0]).toHaveLength(32);
  });
});
