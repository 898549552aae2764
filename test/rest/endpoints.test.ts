import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Clock, systemClock } from '../../src/base/index.ts';
import { type Api, startApi } from './support/api.ts';
import { connectionRecord, recorded, storedMessage } from './support/fakes.ts';

const window = 'beginTime=2021-08-20%2015:00:00&endTime=2021-08-28%2019:00:00';
const mid = '04D2E037FA002000';

let api: Api;
/** How often a list of clients let others go first. */
let turns = 0;
beforeAll(async () => {
  const soon: Clock['soon'] = (name, run) => {
    if (name === 'list of clients') turns += 1;
    return systemClock.soon(name, run);
  };
  api = await startApi({ clock: { ...systemClock, soon } });
});
afterAll(() => api.stop());
beforeEach(() => {
  const { queries, presence } = api;
  for (const list of [queries.connections, queries.records, queries.delivered, queries.messages, queries.windows]) {
    list.length = 0;
  }
  presence.clients.clear();
  presence.held.clear();
});

/** The `body` of an answer that says success. */
async function body(path: string): Promise<unknown> {
  const answer = await api.get(path);
  expect(answer.status).toBe(200);
  expect(answer.json).toMatchObject({ code: 200, msg: 'success' });
  expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
  return (answer.json as { body: unknown }).body;
}

describe('connection records', () => {
  const path = `/openapi/rm/device/record?clientid=abc@app&${window}`;

  it('are the document’s example, member by member and in its order', async () => {
    api.queries.connections.push(connectionRecord());
    const answer = await api.get(path);
    expect(answer.text).toBe(
      JSON.stringify({
        code: 200,
        msg: 'success',
        body: {
          data: [
            {
              connid: '04D2C1DD8B002000',
              ts: '2021-08-28 18:23:09.718',
              status: 'connect',
              reason: 'normal',
              detail:
                '{"will_properties":{},"will":null,"version":4,"ts":1630146189718,"properties":{},"network":"mod_mqtt_ws","keep_alive":60,"ip":"::ffff:172.18.1.24:21258","clean_start":true}',
            },
          ],
          totalCount: 1,
        },
      }),
    );
  });

  it('are newest first, a page of them, with the true total; a page past the end is empty', async () => {
    for (let n = 0; n < 25; n++) api.queries.connections.push(connectionRecord({ time: recorded - n * 1_000 }));
    const page = (n: number) => body(`${path}&currentPage=${n}&pageSize=10`) as Promise<{ data: { ts: string }[] }>;
    expect((await page(1)).data[0]?.ts).toBe('2021-08-28 18:23:09.718');
    expect((await page(3)).data.map(({ ts }) => ts)).toHaveLength(5);
    expect(await page(4)).toEqual({ data: [], totalCount: 25 });
    expect(await page(1e12)).toEqual({ data: [], totalCount: 25 });
  });

  it('tell of a refusal, an end and its reason, a will, and each network', async () => {
    const will = { topic: 'w', qos: 1, retain: false } as const;
    api.queries.connections.push(
      connectionRecord({ reason: 'not_authorized', connection: 0n, network: 'coaps', will }),
      connectionRecord({ kind: 'disconnected', reason: 'keepalive_timeout', network: 'ssl', time: recorded - 1 }),
    );
    const { data } = (await body(path)) as { data: { detail: string }[] };
    expect(data).toMatchObject([
      { connid: '0000000000000000', status: 'connect', reason: 'not_authorized' },
      { status: 'disconnect', reason: 'keepalive_timeout' },
    ]);
    const details = data.map(({ detail }) => JSON.parse(detail));
    expect(details[0]).toMatchObject({ network: 'mod_coaps', will });
    expect(details[1]).toMatchObject({ network: 'mod_mqtt_ssl', will: null });
  });

  it('are asked for with both ends included, a whole second to its end', async () => {
    await body(path);
    await body(path.replace('19:00:00', '19:00:00.250'));
    const to = Date.UTC(2021, 7, 28, 11, 0, 0);
    expect(api.queries.windows).toEqual([
      { from: Date.UTC(2021, 7, 20, 7), to: to + 999 },
      { from: Date.UTC(2021, 7, 20, 7), to: to + 250 },
    ]);
  });
});

describe('a client’s session', () => {
  const path = '/openapi/rm/broker/clientInfo?clientid=abc@app';
  const shape = {
    clientID: 'abc@app',
    status: 'online',
    time: '1630146189718',
    user: 'vimin1',
    keepalive: 60,
    cleansession: false,
    will: null,
    version: 4,
    dataobject: [{ topic: 'testtopic/a', qos: 0 }],
    pageSize: 10,
    currentPage: 1,
    total: 1,
  };

  it('is the document’s example, in its order', async () => {
    api.presence.connect({ clientId: 'abc@app' }, [{ topic: 'testtopic/a', qos: 0 }]);
    expect(JSON.stringify(await body(path))).toBe(JSON.stringify(shape));
  });

  it('has no user for an anonymous client, true for a will, and pages of subscriptions', async () => {
    const subscriptions = Array.from({ length: 5 }, (_, n) => ({ topic: `t/${n}`, qos: 1 as const }));
    const will = { topic: 'w', qos: 0, retain: false } as const;
    api.presence.connect({ clientId: 'abc@app', username: '', will }, subscriptions);
    expect(await body(`${path}&pageSize=2&currentPage=3`)).toMatchObject({
      user: null,
      will: true,
      dataobject: [{ topic: 't/4', qos: 1 }],
      pageSize: 2,
      currentPage: 3,
      total: 5,
    });
  });

  it('is the last one of a client that is away', async () => {
    api.queries.connections.push(connectionRecord({ time: recorded - 5 }), connectionRecord({ clean: false }));
    api.presence.held.set('abc@app', [{ topic: 'kept', qos: 1 }]);
    expect(await body(path)).toEqual({
      ...shape,
      status: 'offline',
      user: 'test1',
      dataobject: [{ topic: 'kept', qos: 1 }],
    });
  });
});

describe('message records', () => {
  const path = `/openapi/rm/message/record?clientid=test@app&${window}`;

  it('are the document’s example, in the order asked for', async () => {
    const message = BigInt(`0x${mid}`);
    api.queries.records.push(
      { clientId: 'test@app', time: recorded, message, direction: 'uplink' },
      { clientId: 'test@app', time: recorded + 19, message, direction: 'downlink' },
    );
    const rows = [
      { ts: '2021-08-28 18:23:09.737', mid, cid: 'test@app', direction: 'downlink' },
      { ts: '2021-08-28 18:23:09.718', mid, cid: 'test@app', direction: 'uplink' },
    ];
    for (const order of ['', '&order=desc', '&order=DESC', '&order=']) {
      expect(JSON.stringify(await body(path + order))).toBe(JSON.stringify({ data: rows, totalCount: 2 }));
    }
    expect(await body(`${path}&order=Asc`)).toEqual({ data: rows.reverse(), totalCount: 2 });
  });
});

describe('the send record of a message', () => {
  const path = `/openapi/rm/message/publish?clientid=test@app&messageid=${mid}`;
  const row = {
    connid: '04D2E010D6002000',
    ts: '2021-08-28 18:23:09.718',
    mid,
    cid: 'test@app',
    status: 'normal',
    topic: 'testtopic/a',
    qos: 0,
  };

  it('is the document’s example, with and without times, under either name', async () => {
    api.queries.messages.push(storedMessage());
    const expected = JSON.stringify({ data: [row], totalCount: 1 });
    for (const one of [
      path,
      `${path}&${window}`,
      `${path}&beginTime=&order=asc`,
      path.replace('messageid', 'messageId'),
    ]) {
      expect(JSON.stringify(await body(one))).toBe(expected);
    }
  });

  it('is none outside the window, of another client, of what no client sent, of an unknown id', async () => {
    api.queries.messages.push(storedMessage(), storedMessage({ id: 1n, origin: 'upstream' }));
    const none = { data: [], totalCount: 0 };
    for (const one of [
      `${path}&endTime=2021-08-28%2018:23:08`,
      `${path}&beginTime=2021-08-28%2018:23:10`,
      path.replace('test@app', 'other@app'),
      path.replace(mid, '0000000000000001'),
      path.replace(mid, '0000000000000002'),
      path.replace(mid, mid.toLowerCase()),
      path.replace(mid, 'no-id'),
    ]) {
      expect(await body(one)).toEqual(none);
    }
    expect(await body(`${path}&endTime=2021-08-28%2018:23:09`)).toEqual({ data: [row], totalCount: 1 });
  });
});

describe('the delivery records of a message', () => {
  it('are the document’s example', async () => {
    const message = BigInt(`0x${mid}`);
    api.queries.delivered.push({ message, clientId: 'test@app', time: recorded, qos: 0 });
    const path = `/openapi/rm/message/subscribe?clientid=test@app&${window}&messageid=${mid}&order=asc`;
    const row = { ts: '2021-08-28 18:23:09.718', cid: 'test@app', status: 'normal', qos: 0 };
    expect(JSON.stringify(await body(path))).toBe(JSON.stringify({ data: [row], totalCount: 1 }));
    expect(await body(path.replace(mid, 'FFFFFFFFFFFFFFFF'))).toEqual({ data: [], totalCount: 0 });
    expect(await body(path.replace(mid, 'x'))).toEqual({ data: [], totalCount: 0 });
  });
});

describe('a message’s content', () => {
  const path = `/openapi/rm/message/message?messageId=${mid}`;

  it('is the document’s example, in base64 or as text', async () => {
    api.queries.messages.push(storedMessage());
    const shape = {
      messageId: mid,
      clientId: 'test@app',
      connectionId: '04D2E010D6002000',
      qos: 0,
      topic: 'testtopic/a',
      publishTimeText: '2021-08-28 18:23:09',
      message: 'ZHNmc2Zk',
    };
    for (const encode of ['', '&encode=', '&encode=Base64']) {
      expect(JSON.stringify(await body(path + encode))).toBe(JSON.stringify(shape));
    }
    expect(await body(`${path.replace('messageId', 'messageid')}&encode=UTF-8`)).toEqual({
      ...shape,
      message: 'dsfsfd',
    });
  });
});

describe('a topic’s history', () => {
  const path = `/openapi/rm/message/messages?${window}&topic=ddd`;

  it('is the document’s example, newest first', async () => {
    api.queries.messages.push(
      storedMessage({ topic: 'ddd', id: 1n, time: recorded - 1_000, connection: 0n, origin: 'rest' }),
      storedMessage({ topic: 'ddd', id: 2n, connection: 0n }),
      storedMessage({ topic: 'ddd/e', id: 3n }),
    );
    const row = (messageId: string, publishTimeText: string) => ({
      messageId,
      clientId: 'test@app',
      connectionId: '0000000000000000',
      qos: 0,
      topic: 'ddd',
      publishTimeText,
      message: 'ZHNmc2Zk',
    });
    const expected = {
      total: 2,
      messages: [row('0000000000000002', '2021-08-28 18:23:09'), row('0000000000000001', '2021-08-28 18:23:08')],
    };
    expect(JSON.stringify(await body(path))).toBe(JSON.stringify(expected));
    expect(await body(`${path}&pageSize=1&currentPage=2`)).toEqual({ total: 2, messages: expected.messages.slice(1) });
    expect(await body(`${path}&pageSize=1&currentPage=3`)).toEqual({ total: 2, messages: [] });
  });
});

describe('the clients that are connected', () => {
  const row = {
    keepalive: 60,
    protocol: 'ws',
    conntime: '2021-08-28 18:23:09',
    version: 4,
    connid: '06D9AEA3CB007001',
  };

  it('are listed by topic: a row per matching subscription, with the topic asked for', async () => {
    api.presence.connect({}, [
      { topic: 'b', qos: 0 },
      { topic: '+', qos: 0 },
      { topic: 'c', qos: 0 },
    ]);
    api.presence.connect({ clientId: 'other@app' }, [{ topic: 'x/#', qos: 0 }]);
    const first = { clientId: 'deviceId1@app', userid: 'vimin1' };
    const { keepalive, protocol, conntime, version, connid } = row;
    const at = (topic: string) => ({ ...first, keepalive, protocol, conntime, topic, version, connid });
    const expected = { total: 3, data: [at('b'), at('a'), at('b')] };
    expect(JSON.stringify(await body('/openapi/rm/users/topic?topic=a,b,,a'))).toBe(JSON.stringify(expected));
    expect(await body('/openapi/rm/users/topic?topic=x/y')).toMatchObject({
      total: 1,
      data: [{ clientId: 'other@app' }],
    });
    expect(await body('/openapi/rm/users/topic?topic=a,b&pageSize=1&currentPage=2')).toEqual({
      total: 3,
      data: [at('a')],
    });
  });

  it('are listed by user', async () => {
    api.presence.connect({});
    api.presence.connect({ clientId: 'b@app', username: 'vimin2', network: 'coap', version: 1 });
    api.presence.connect({ clientId: 'c@app', username: '' });
    const { conntime, keepalive, version, protocol, connid } = row;
    const first = { clientId: 'deviceId1@app', userid: 'vimin1', conntime, keepalive, version, protocol, connid };
    const path = '/openapi/rm/users/userid?userid=';
    expect(JSON.stringify(await body(`${path}vimin1`))).toBe(JSON.stringify({ total: 1, data: [first] }));
    expect(await body(`${path}vimin1,vimin2`)).toMatchObject({
      total: 2,
      data: [{}, { protocol: 'coap', version: 1 }],
    });
  });

  it('are all listed, the oldest connection first', async () => {
    api.presence.connect({});
    api.presence.connect({ clientId: 'c@app', username: '' });
    const { conntime, keepalive, version, protocol, connid } = row;
    const all = {
      clientId: 'deviceId1@app',
      userid: 'vimin1',
      conntime,
      keepalive,
      cleansession: false,
      version,
      protocol,
      connid,
    };
    const path = '/openapi/rm/users/appid?pageSize=1&currentPage=';
    expect(JSON.stringify(await body(`${path}1`))).toBe(JSON.stringify({ total: 2, data: [all] }));
    expect(await body(`${path}2`)).toMatchObject({ total: 2, data: [{ clientId: 'c@app', userid: null }] });
    expect(await body(`${path}3`)).toEqual({ total: 2, data: [] });
    // as the document’s example comes out of a copy: &curren is an HTML entity
    expect(await body('/openapi/rm/users/appid?pageSize=1%C2%A4tPage=2')).toMatchObject({
      data: [{ clientId: 'c@app' }],
    });
  });

  it('are counted in slices: others are served meanwhile', async () => {
    turns = 0;
    for (let n = 0; n < 5_000; n++) api.presence.connect({ clientId: `c${n}@app`, connection: BigInt(n) });
    expect(await body('/openapi/rm/users/appid?pageSize=1000&currentPage=5')).toMatchObject({ total: 5_000 });
    expect(turns).toBe(10);
    expect(await body('/openapi/rm/users/appid?pageSize=1000&currentPage=6')).toEqual({ total: 5_000, data: [] });
  });
});

describe('an empty gateway', () => {
  it.each([
    [`/openapi/rm/device/record?clientid=abc@app&${window}`, { data: [], totalCount: 0 }],
    [`/openapi/rm/message/record?clientid=abc@app&${window}`, { data: [], totalCount: 0 }],
    [`/openapi/rm/message/publish?clientid=abc@app&messageid=${mid}`, { data: [], totalCount: 0 }],
    [`/openapi/rm/message/subscribe?clientid=abc@app&messageid=${mid}&${window}`, { data: [], totalCount: 0 }],
    [`/openapi/rm/message/messages?${window}&topic=ddd`, { total: 0, messages: [] }],
    ['/openapi/rm/users/topic?topic=a', { total: 0, data: [] }],
    ['/openapi/rm/users/userid?userid=a', { total: 0, data: [] }],
    ['/openapi/rm/users/appid', { total: 0, data: [] }],
  ])('answers %s', async (path, expected) => {
    expect(await body(path)).toEqual(expected);
  });
});

describe('a query string', () => {
  const seen = () => api.queries.windows.map(({ from }) => from);
  const from = Date.UTC(2021, 7, 20, 7);

  it('may have its spaces as %20, + or bare, also for one request after the other on a connection', async () => {
    const path = '/openapi/rm/device/record?clientid=abc@app&beginTime=2021-08-20 15:00:00&endTime=2021-08-28 19:00:00';
    for (const space of ['%20', '+']) await body(path.replaceAll(' ', space));
    const one = `GET ${path} HTTP/1.1\r\nAuthorization: ${api.token}\r\n`;
    const text = await api.raw(`${one}Connection: close\r\n\r\n`);
    expect(text).toContain('"totalCount":0');
    expect(seen()).toEqual([from, from, from]);
  });

  it('is taken with any legal client id', async () => {
    const ids = ['温度 传感器@app', 'a!$%&\'()*+,;=:/?#[]~|\\"<>^`{}@app', '😀@app', 'é@app', `${'x'.repeat(60)}@app`];
    for (const clientId of ids) {
      api.presence.connect({ clientId });
      expect(await body(`/openapi/rm/broker/clientInfo?clientid=${encodeURIComponent(clientId)}`)).toMatchObject({
        clientID: clientId,
      });
    }
    const raw = await api.raw(
      `GET /openapi/rm/broker/clientInfo?clientid=温度 传感器@app HTTP/1.1\r\nAuthorization: ${api.token}\r\nConnection: close\r\n\r\n`,
    );
    expect(raw).toContain('"clientID":"温度 传感器@app"');
  });

  it('has the first of what is there twice; an empty one does not count', async () => {
    api.presence.connect({ clientId: 'a@app' });
    api.presence.connect({ clientId: 'b@app' });
    const path = '/openapi/rm/broker/clientInfo?clientid=&clientid=a@app&clientid=b@app&pageSize=&unknown=1&flag';
    expect(await body(path)).toMatchObject({ clientID: 'a@app', pageSize: 10 });
  });
});
