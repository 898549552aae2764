import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ErrorCode, HoldfastError } from '../../src/base/index.ts';
import { type Api, startApi } from './support/api.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());
beforeEach(() => {
  api.queries.broken = undefined;
  api.publisher.error = undefined;
  api.publisher.published.length = 0;
});

const begin = 'beginTime=2021-08-20%2015:00:00';
const window = `${begin}&endTime=2021-08-28%2019:00:00`;
const id = 'clientid=abc@app';
const mid = 'messageid=04D2E037FA002000';

const clientIds: [string, string][] = [
  ['', 'clientid can not be empty'],
  ['clientid=', 'clientid can not be empty'],
  ['clientid=123', 'invalid clientid'],
  ['clientid=@app', 'invalid clientid'],
  ['clientid=a@app@app', 'invalid clientid'],
  ['clientid=a%00b@app', 'invalid clientid'],
  ['clientid=a%0Ab@app', 'invalid clientid'],
  ['clientid=%ff@app', 'invalid clientid'],
  ['clientid=%zz@app', 'invalid clientid'],
  [`clientid=${'x'.repeat(61)}@app`, 'invalid clientid'],
  ['clientid=abc@other', "clientid and appid doesn't match"],
  ['clientid=abc@', "clientid and appid doesn't match"],
  ['clientid=abc@APP', "clientid and appid doesn't match"],
];
const windows: [string, string][] = [
  ['', 'beginTime and endTime can not be empty'],
  [begin, 'beginTime and endTime can not be empty'],
  ['endTime=2021-08-28%2019:00:00', 'beginTime and endTime can not be empty'],
  [`beginTime=&endTime=`, 'beginTime and endTime can not be empty'],
  ['beginTime=yesterday', 'beginTime and endTime must be yyyy-MM-dd HH:mm:ss'],
  [`${begin}&endTime=2021-08-32%2000:00:00`, 'beginTime and endTime must be yyyy-MM-dd HH:mm:ss'],
  [`${begin}&endTime=2021-08-20%2014:59:59`, 'end time must be greater than the start time'],
  [`${begin}&endTime=2021-08-20%2015:00:00`, 'end time must be greater than the start time'],
];
const pages: [string, string][] = [
  ...['0', '-1', '1.5', 'x', '1e3', '%20', '9999999999999999'].map((n): [string, string] => [
    `currentPage=${n}`,
    'invalid currentPage',
  ]),
  ...['0', '1001', 'x'].map((n): [string, string] => [`pageSize=${n}`, 'invalid pageSize']),
];

/** What is asked, and the text of the 400. */
const rows: [string, string][] = [];
function rowsOf(path: string, fixed: string, cases: readonly [string, string][]): void {
  for (const [query, text] of cases)
    rows.push([`${path}?${[fixed, query].filter((one) => one !== '').join('&')}`, text]);
}
const record = '/openapi/rm/device/record';
const info = '/openapi/rm/broker/clientInfo';
const messages = '/openapi/rm/message/record';
const sent = '/openapi/rm/message/publish';
const delivered = '/openapi/rm/message/subscribe';
const content = '/openapi/rm/message/message';
const history = '/openapi/rm/message/messages';

for (const path of [record, info, messages, sent, delivered]) rowsOf(path, '', clientIds);
rowsOf(record, id, windows);
rowsOf(messages, id, windows);
rowsOf(delivered, `${id}&${mid}`, windows);
rowsOf(history, 'topic=ddd', windows);
rowsOf(record, `${id}&${window}`, pages);
rowsOf(messages, `${id}&${window}`, [...pages, ['order=up', 'invalid order']]);
rowsOf(delivered, `${id}&${mid}&${window}`, [...pages, ['order=up', 'invalid order']]);
rowsOf(info, id, [...pages, ['', "clientId doesn't exist"]]);
rowsOf(history, `topic=ddd&${window}`, [...pages, ['encode=hex', 'encode can only be utf-8 or base64']]);
rowsOf('/openapi/rm/users/topic', 'topic=a', pages);
rowsOf('/openapi/rm/users/userid', 'userid=a', pages);
rowsOf('/openapi/rm/users/appid', '', pages);
for (const path of [sent, delivered]) {
  rowsOf(path, id, [
    ['', 'messageid can not be empty'],
    ['messageId=', 'messageid can not be empty'],
  ]);
}
rowsOf(sent, `${id}&${mid}`, [
  ['order=up', 'invalid order'],
  ['beginTime=x', 'beginTime and endTime must be yyyy-MM-dd HH:mm:ss'],
  ['endTime=x', 'beginTime and endTime must be yyyy-MM-dd HH:mm:ss'],
  [`${begin}&endTime=2021-08-20%2014:59:59`, 'end time must be greater than the start time'],
]);
rowsOf(content, '', [
  ['', 'messageId cannot be empty'],
  ['messageid=', 'messageId cannot be empty'],
  ['messageId=04D2E037FA002000&encode=x', 'encode can only be utf-8 or base64'],
  ['messageId=04D2E037FA002000', "message doesn't exist"],
  ['messageId=x', "message doesn't exist"],
]);
const topics: [string, string][] = [
  ['', 'topic cannot be empty'],
  ['topic=', 'topic cannot be empty'],
  ['topic=a/%23', 'error_topics_format'],
  ['topic=%2B', 'error_topics_format'],
  ['topic=a%00', 'error_topics_format'],
  [`topic=${'x'.repeat(1_025)}`, 'error_topics_format'],
];
rowsOf(history, window, topics);
rowsOf('/openapi/rm/users/topic', '', [
  ...topics,
  ['topic=,', 'topic cannot be empty'],
  ['topic=a,b/%23', 'error_topics_format'],
]);
rowsOf('/openapi/rm/users/userid', '', [
  ['', 'userid cannot be empty'],
  ['userid=', 'userid cannot be empty'],
  ['userid=,,', 'userid cannot be empty'],
]);

// the order of the document’s table: each wholly before the next
rowsOf(record, '', [
  ['beginTime=x&currentPage=0', 'clientid can not be empty'],
  [`${id}&beginTime=x`, 'beginTime and endTime must be yyyy-MM-dd HH:mm:ss'],
  [`${id}&currentPage=0`, 'beginTime and endTime can not be empty'],
  [`${id}&${window}&currentPage=0&pageSize=0`, 'invalid currentPage'],
]);
rowsOf(info, '', [['clientid=gone@app&pageSize=0', 'invalid pageSize']]);
rowsOf(messages, '', [[`${id}&${window}&pageSize=0&order=x`, 'invalid pageSize']]);
rowsOf(sent, '', [[`${id}&order=x`, 'messageid can not be empty']]);
rowsOf(delivered, '', [
  [id, 'messageid can not be empty'],
  [`${id}&${mid}&order=x`, 'beginTime and endTime can not be empty'],
]);
rowsOf(history, '', [
  ['encode=x', 'beginTime and endTime can not be empty'],
  [`${window}&encode=x`, 'topic cannot be empty'],
  [`${window}&topic=a&encode=x&currentPage=0&pageSize=0`, 'invalid pageSize'],
  [`${window}&topic=a&encode=x&currentPage=0`, 'invalid currentPage'],
]);
rowsOf('/openapi/rm/users/appid', '', [['pageSize=0&currentPage=0', 'invalid pageSize']]);

describe('a query that is wrong', () => {
  it.each(rows)('%s: %s', async (path, msg) => {
    const answer = await api.get(path);
    expect(answer.text).toBe(JSON.stringify({ code: 400, msg, body: null }));
    expect(answer.status).toBe(400);
  });
});

describe('a publish that is wrong', () => {
  const good = { topics: ['a', 'b'], clientid: 'abc@app', payload: 'x' };
  const without = (name: keyof typeof good) => ({ ...good, [name]: undefined });

  it.each<[unknown, string]>([
    ['', 'bad_json'],
    ['{', 'bad_json'],
    ['[]', 'bad_json'],
    ['null', 'bad_json'],
    ['"x"', 'bad_json'],
    [Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 'bad_json'],
    [{}, 'Missing required parameters topics'],
    [without('topics'), 'Missing required parameters topics'],
    [{ ...good, topics: null }, 'Missing required parameters topics'],
    [{ ...good, topics: 'a' }, 'topics must be an array'],
    [{ ...good, topics: {} }, 'topics must be an array'],
    [{ ...good, topics: [] }, 'topics array can not be empty'],
    [{ ...good, topics: Array.from({ length: 33 }, (_, n) => `${n}`) }, "topics array's size can not exceed 32"],
    [{ ...good, topics: ['a', ''] }, 'error_topics_format'],
    [{ ...good, topics: ['a/#'] }, 'error_topics_format'],
    [{ ...good, topics: ['a\0'] }, 'error_topics_format'],
    [{ ...good, topics: [1] }, 'error_topics_format'],
    [{ ...good, topics: ['é'.repeat(513)] }, 'error_topics_format'],
    [without('clientid'), 'Missing required parameters clientid'],
    [{ ...good, clientid: '' }, 'clientid can not be empty'],
    [{ ...good, clientid: 7 }, 'invalid clientid'],
    [{ ...good, clientid: '123' }, 'invalid clientid'],
    [{ ...good, clientid: 'a@other' }, "clientid and appid doesn't match"],
    [without('payload'), 'Missing required parameters payload'],
    [{ ...good, payload: { a: 1 } }, 'payload must be a string'],
    [{ ...good, payload: '' }, 'payload can not be empty'],
    [{ ...good, payload: '', encoding: 'base64' }, 'payload can not be empty'],
    [{ ...good, payload: '', retain: 0 }, 'payload can not be empty'],
    [{ ...good, payload: 'a', encoding: 'base64' }, 'bad base64 payload type'],
    [{ ...good, payload: 'YQ', encoding: 'base64' }, 'bad base64 payload type'],
    [{ ...good, payload: 'Y===', encoding: 'base64' }, 'bad base64 payload type'],
    [{ ...good, payload: 'Y-_a', encoding: 'base64' }, 'bad base64 payload type'],
    [{ ...good, payload: 'é'.repeat(501) }, 'payload_too_larger'],
    [{ ...good, payload: Buffer.alloc(1_001).toString('base64'), encoding: 'base64' }, 'payload_too_larger'],
    [{ ...good, encoding: 'hex' }, 'invalid encoding'],
    [{ ...good, encoding: '' }, 'invalid encoding'],
    [{ ...good, encoding: 1 }, 'invalid encoding'],
    [{ ...good, qos: 3 }, 'invalid qos'],
    [{ ...good, qos: '1' }, 'invalid qos'],
    [{ ...good, retain: 2 }, 'invalid retain'],
    [{ ...good, retain: true }, 'invalid retain'],
    [{ ...good, expire: 1.5 }, 'invalid expire'],
    [{ ...good, expire: '86400' }, 'invalid expire'],
    // in the order of the table, each wholly
    [{ topics: 'a', clientid: '', payload: 1, qos: 9 }, 'topics must be an array'],
    [{ topics: ['a'], clientid: '', payload: 1, qos: 9 }, 'clientid can not be empty'],
    [{ ...good, payload: '', encoding: 'hex', qos: 9, retain: 9, expire: 'x' }, 'payload can not be empty'],
    [{ ...good, encoding: 'hex', qos: 9, retain: 9, expire: 'x' }, 'invalid encoding'],
    [{ ...good, qos: 9, retain: 9, expire: 'x' }, 'invalid qos'],
    [{ ...good, retain: 9, expire: 'x' }, 'invalid retain'],
  ])('%j: %s', async (given, msg) => {
    const answer = await api.post('/openapi/v1/rm/chat/publish', given);
    expect(answer.text).toBe(JSON.stringify({ code: 400, msg, body: null }));
    expect(answer.status).toBe(400);
    expect(api.publisher.published).toEqual([]);
  });

  it.each<[ErrorCode, number, string, boolean]>([
    ['overloaded', 500, 'fail', true],
    ['store_full', 500, 'fail', true],
    ['store_failed', 500, 'fail', true],
    ['unavailable', 500, 'fail', true],
    ['limit_reached', 500, 'fail', true],
    ['start_failed', 500, 'fail', false],
    ['access_denied', 403, 'access deny', false],
    ['payload_too_large', 400, 'payload_too_larger', false],
    ['invalid_topic', 400, 'error_topics_format', false],
  ])('by %s is answered %i %s', async (code, status, msg, again) => {
    api.publisher.error = new HoldfastError(code, 'the inside');
    const answer = await api.post('/openapi/v1/rm/chat/publish', good);
    expect(answer.json).toEqual(status === 403 ? { code: status, msg } : { code: status, msg, body: null });
    expect(answer.status).toBe(status);
    expect(answer.headers['retry-after']).toBe(again ? '1' : undefined);
    expect(answer.text).not.toContain('inside');
  });
});

describe('anything unexpected', () => {
  it('is 500 fail, its cause in the log alone, under the request’s id', async () => {
    api.queries.broken = new Error('the disk hangs at /secret/place');
    const answer = await api.get(`${record}?${id}&${window}`);
    expect(answer.text).toBe('{"code":500,"msg":"fail","body":null}');
    expect(answer.status).toBe(500);
    const line = api.lines.findLast(([level]) => level === 'error');
    expect(line?.[1]).toMatchObject({
      request: answer.headers['x-request-id'],
      path: record,
      status: 500,
      reason: 'the disk hangs at /secret/place',
    });
    expect(JSON.stringify(api.lines)).not.toContain(api.token);
  });
});

describe('path and authorization', () => {
  it.each([
    ['GET', '/'.concat('nowhere')],
    ['GET', '/openapi'],
    ['GET', `${record}/`],
    ['GET', '/openapi/rm/app/token'],
    ['POST', record],
    ['PUT', '/openapi/v1/rm/chat/publish'],
    ['DELETE', record],
    ['OPTIONS', record],
    ['POST', '/metrics'],
  ])('%s %s is not found, whatever else is wrong', async (method, path) => {
    const answer = await api.ask(method, path);
    expect(answer.text).toBe('{"code":404,"msg":"page not found","body":null}');
    expect(answer.status).toBe(404);
  });

  it('answer HEAD of an endpoint without a body', async () => {
    expect(await api.ask('HEAD', record)).toMatchObject({ status: 404, text: '' });
  });

  it.each([
    ['GET', record],
    ['GET', info],
    ['GET', messages],
    ['GET', sent],
    ['GET', delivered],
    ['GET', content],
    ['GET', history],
    ['GET', '/openapi/rm/users/topic'],
    ['GET', '/openapi/rm/users/userid'],
    ['GET', '/openapi/rm/users/appid'],
    ['POST', '/openapi/rm/user/token'],
    ['POST', '/openapi/v1/rm/chat/publish'],
    ['POST', '/v1/rm/chat/publish'],
  ])('%s %s asks for a token before it looks at anything else', async (method, path) => {
    for (const headers of [{}, { authorization: '' }, { authorization: 'Bearer' }, { authorization: 'Basic a b' }]) {
      const answer = await api.ask(
        method,
        path,
        headers as Record<string, string>,
        method === 'POST' ? '{' : undefined,
      );
      expect(answer.text).toBe('{"code":403,"msg":"access deny"}');
      expect(answer.status).toBe(403);
    }
    const answer = await api.ask(
      method,
      path,
      { authorization: `bearer ${api.token}` },
      method === 'POST' ? '{' : undefined,
    );
    expect(answer.status).not.toBe(403);
  });
});
