import { existsSync, rmSync, statSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Daemon, eventually, holdfast } from './support/daemon.ts';
import { coapClient, publish, scratch, subscriber } from './support/peers.ts';
import { Running, run } from './support/process.ts';

/** The document's example requests, typed with curl after real traffic, and that their answers agree with one another. */

const place = scratch();
const daemon = new Daemon(
  place.path,
  '[app]\nid = "a0cta0"\ntime_zone = "Asia/Shanghai"\n[rest]\nlisten = "http://127.0.0.1:0"\n[log]\nlevel = "debug"\n',
);
const peers: Running[] = [];
let api = '';
let mqttPort = 0;
let coapPort = 0;
let credentials = { appClientId: '', appClientSecret: '' };
let token = '';

interface Answer {
  readonly status: number;
  readonly code: number;
  readonly msg: string;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the answer holds is looked at
  readonly body: any;
}

async function curl(args: readonly string[], path: string): Promise<{ text: string; status: number }> {
  const { output } = await run('curl', ['-sS', '-m', '20', '-w', '\n%{http_code}', ...args, `${api}${path}`]);
  const end = output.lastIndexOf('\n');
  return { text: output.slice(0, end), status: Number(output.slice(end + 1)) };
}

async function call(args: readonly string[], path: string): Promise<Answer> {
  const { text, status } = await curl(args, path);
  return { ...(JSON.parse(text) as Answer), status };
}

const post = (path: string, body: unknown, as = token) =>
  call(
    [
      '--location',
      '--request',
      'POST',
      '-H',
      `Authorization: ${as}`,
      '-H',
      'Content-Type: application/json',
      '--data-raw',
      typeof body === 'string' ? body : JSON.stringify(body),
    ],
    path,
  );
const get = (path: string, as = token) => call(['--location', '--request', 'GET', '-H', `Authorization: ${as}`], path);

/** Begin and end of a window around now, in the gateway's zone, as a query; `%20` for the space. */
function windowQuery(space = '%20'): string {
  const format = (time: number) => new Date(time + 8 * 3_600_000).toISOString().slice(0, 19).replace('T', space);
  return `beginTime=${format(Date.now() - 3_600_000)}&endTime=${format(Date.now() + 3_600_000)}`;
}

async function startDaemon(): Promise<void> {
  await daemon.start();
  api = `http://127.0.0.1:${await daemon.port('http')}`;
  mqttPort = await daemon.port('mqtt');
  coapPort = await daemon.port('coap');
}

async function appToken(): Promise<string> {
  const { body } = await post('/openapi/rm/app/token', credentials, '');
  return body.access_token;
}

beforeAll(async () => {
  await startDaemon();
  const { output } = await run(holdfast, ['credentials', '--config', daemon.configFile]);
  const [, appClientId = ''] = /appClientId\s+(\S+)/.exec(output) ?? [];
  const [, appClientSecret = ''] = /appClientSecret\s+(\S+)/.exec(output) ?? [];
  credentials = { appClientId, appClientSecret };
  token = await appToken();
});

afterAll(async () => {
  for (const peer of peers) await peer.kill();
  await daemon.kill('SIGTERM');
  place.remove();
});

const mid = /^[0-9A-F]{16}$/;
const text = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/;
const ts = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}$/;

async function coapObserver(clientid: string, topic: string, qos: number): Promise<Running> {
  const running = new Running('stdbuf', [
    '-oL',
    '-eL',
    coapClient,
    '-m',
    'get',
    '-s',
    '120',
    '-O',
    '6,0x00',
    '-v',
    '6',
    '-T',
    'obstoken',
    `coap://127.0.0.1:${coapPort}/ps/${topic}?clientid=${clientid}&qos=${qos}`,
  ]);
  peers.push(running);
  await running.outputs(/2\.05|4\.\d\d|5\.\d\d/);
  return running;
}

/** Rows of a query once there are `count`: the index may be a second behind. */
async function rows(path: string, count: number): Promise<Answer> {
  let answer: Answer | undefined;
  await eventually(
    async () => {
      answer = await get(path);
      return (answer.body?.totalCount ?? answer.body?.total) >= count;
    },
    `${count} rows of ${path}`,
    5_000,
  );
  return answer as Answer;
}

describe('tokens', () => {
  it('of the application come for its credentials alone, and are asked for everywhere else', async () => {
    const answer = await post('/openapi/rm/app/token', credentials, '');
    expect(answer).toEqual({
      status: 200,
      code: 200,
      msg: 'success',
      body: {
        access_token: expect.any(String),
        application: expect.stringMatching(/^[0-9a-f-]{36}$/),
        expires_in: expect.any(Number),
      },
    });
    expect(answer.body.expires_in).toBeGreaterThanOrEqual(5_183_999);
    const path = `/openapi/rm/device/record?clientid=x@a0cta0&${windowQuery()}`;
    expect((await get(path, `Bearer ${token}`)).code).toBe(200);
    const refused = await curl(['-H', 'Authorization: nonsense'], path);
    expect([refused.status, JSON.parse(refused.text)]).toEqual([403, { code: 403, msg: 'access deny' }]);
    expect(await post('/openapi/rm/app/token', { ...credentials, appClientSecret: 'x' }, '')).toEqual({
      status: 400,
      code: 400,
      msg: 'app_client_id does not match',
      body: null,
    });
  });

  it('of a user let that user log in over MQTT and CoAP, under the client id that they are bound to', async () => {
    const { body } = await post('/openapi/rm/user/token', { username: 'bound', cid: 'only@a0cta0' });
    expect(body).toEqual({
      access_token: expect.stringMatching(/^[A-Za-z0-9]{27}$/),
      expires_in: 259_200,
      user: { type: 'user', created: expect.any(Number), username: 'bound', activated: true },
    });
    const login = (id: string, password: string) =>
      publish(mqttPort, 'login', 'x', ['-i', id, '-u', 'bound', '-P', password, '-q', '1']);
    expect((await login('only', body.access_token)).code).toBe(0);
    expect((await login('other', body.access_token)).code).not.toBe(0);
    expect((await login('only', 'wrong')).code).not.toBe(0);
    const coap = (password: string) =>
      run(coapClient, [
        '-m',
        'post',
        '-B',
        '10',
        `coap://127.0.0.1:${coapPort}/mqtt/connection?clientid=only&username=bound&password=${password}`,
      ]);
    expect((await coap('wrong')).output).toContain('Login Failed: not_authorized');
    expect((await coap(body.access_token)).output.trim()).toMatch(/^\S{20,}$/);
    const record = await rows(`/openapi/rm/device/record?clientid=other@a0cta0&${windowQuery()}`, 1);
    expect(record.body.data[0]).toMatchObject({ status: 'connect', reason: 'not_authorized' });
  });

  it('of a user with a password are the long ones', async () => {
    const added = await run(holdfast, ['user', 'add', 'pat', '--config', daemon.configFile], 'secret12\n');
    expect(added.code).toBe(0);
    const right = await post('/openapi/rm/user/token', { username: 'pat', password: 'secret12' });
    expect(right.body).toMatchObject({
      access_token: expect.stringMatching(/^.{130}$/),
      user: { type: 'user', username: 'pat', activated: true, uuid: expect.any(String), modified: expect.any(Number) },
    });
    const wrong = await post('/openapi/rm/user/token', { username: 'pat', password: 'wrong' });
    expect([wrong.status, wrong.msg, wrong.body]).toEqual([400, "username and password don't match", null]);
    const long = await publish(mqttPort, 'login', 'x', ['-u', 'pat', '-P', right.body.access_token, '-q', '1']);
    expect(long.code).toBe(0);
    await run(holdfast, ['user', 'remove', 'pat', '--config', daemon.configFile]);
  });
});

describe('one publish to three topics, with an MQTT and a CoAP subscriber', () => {
  let mids: string[] = [];

  beforeAll(async () => {
    peers.push(await subscriber(mqttPort, 'three/#', ['-i', 'mqttsub', '-k', '60']));
    await coapObserver('coapsub', 'three/b', 1);
    const { body, status } = await post('/v1/rm/chat/publish', {
      clientid: 'sender@a0cta0',
      payload: Buffer.from('hällo').toString('base64'),
      encoding: 'base64',
      topics: ['three/a', 'three/b', 'three/c'],
      qos: 1,
      retain: 0,
      expire: 86_400,
    });
    expect(status).toBe(200);
    mids = body.mids;
  });

  it('is acknowledged with three message ids, in the order of the topics', () => {
    expect(mids).toHaveLength(3);
    expect(mids.every((one) => mid.test(one))).toBe(true);
    expect([...mids].sort()).toEqual(mids);
  });

  it('is found as three uplinks of its sender, with send records and contents', async () => {
    const records = await rows(`/openapi/rm/message/record?clientid=sender@a0cta0&${windowQuery()}&order=asc`, 3);
    expect(records.body).toEqual({
      totalCount: 3,
      data: mids.map((one) => ({ ts: expect.stringMatching(ts), mid: one, cid: 'sender@a0cta0', direction: 'uplink' })),
    });
    for (const [index, one] of mids.entries()) {
      const topic = `three/${'abc'[index]}`;
      expect((await get(`/openapi/rm/message/publish?clientid=sender@a0cta0&messageid=${one}`)).body).toEqual({
        totalCount: 1,
        data: [
          {
            connid: '0000000000000000',
            ts: records.body.data[index].ts,
            mid: one,
            cid: 'sender@a0cta0',
            status: 'normal',
            topic,
            qos: 1,
          },
        ],
      });
      expect((await get(`/openapi/rm/message/message?messageId=${one}&encode=utf-8`)).body).toEqual({
        messageId: one,
        clientId: 'sender@a0cta0',
        connectionId: '0000000000000000',
        qos: 1,
        topic,
        publishTimeText: expect.stringMatching(text),
        message: 'hällo',
      });
      const history = await get(
        `/openapi/rm/message/messages?${windowQuery()}&topic=${topic}&pageSize=10&currentPage=1`,
      );
      expect(history.body.total).toBe(1);
      expect(history.body.messages[0]).toMatchObject({
        messageId: one,
        message: Buffer.from('hällo').toString('base64'),
      });
    }
  });

  it('is found as deliveries, each where it went and nowhere else', async () => {
    const downlinks = await rows(`/openapi/rm/message/record?clientid=mqttsub@a0cta0&${windowQuery()}`, 3);
    expect(downlinks.body.data.map((one: { mid: string; direction: string }) => [one.mid, one.direction])).toEqual(
      [...mids].reverse().map((one) => [one, 'downlink']),
    );
    const coapDownlinks = await rows(`/openapi/rm/message/record?clientid=coapsub@a0cta0&${windowQuery()}`, 1);
    expect(coapDownlinks.body.data.map((one: { mid: string }) => one.mid)).toEqual([mids[1]]);
    const deliveries = async (client: string, one: string | undefined) =>
      (await get(`/openapi/rm/message/subscribe?clientid=${client}@a0cta0&messageid=${one}&${windowQuery()}&order=asc`))
        .body;
    for (const one of mids) {
      expect(await deliveries('mqttsub', one)).toEqual({
        totalCount: 1,
        data: [{ ts: expect.stringMatching(ts), cid: 'mqttsub@a0cta0', status: 'normal', qos: 1 }],
      });
    }
    expect((await deliveries('coapsub', mids[1])).totalCount).toBe(1);
    expect(await deliveries('coapsub', mids[0])).toEqual({ totalCount: 0, data: [] });
  });
});

describe('a client', () => {
  it('is told of while it is there, with its session, and after it has gone', async () => {
    const { body } = await post('/openapi/rm/user/token', { username: 'test1' });
    const there = await subscriber(mqttPort, 'testtopic/a', [
      '-i',
      'abc@a0cta0',
      '-u',
      'test1',
      '-P',
      body.access_token,
      '-k',
      '60',
      '-q',
      '0',
    ]);
    peers.push(there);
    const info = await get('/openapi/rm/broker/clientInfo?clientid=abc@a0cta0');
    expect(info.body).toEqual({
      clientID: 'abc@a0cta0',
      status: 'online',
      time: expect.stringMatching(/^\d{13}$/),
      user: 'test1',
      keepalive: 60,
      cleansession: true,
      will: null,
      version: 4,
      dataobject: [{ topic: 'testtopic/a', qos: 0 }],
      pageSize: 10,
      currentPage: 1,
      total: 1,
    });
    const row = {
      clientId: 'abc@a0cta0',
      userid: 'test1',
      keepalive: 60,
      protocol: 'tcp',
      conntime: expect.stringMatching(text),
      version: 4,
      connid: expect.stringMatching(mid),
    };
    expect((await get('/openapi/rm/users/topic?topic=testtopic/a,nobody')).body).toEqual({
      total: 1,
      data: [{ ...row, topic: 'testtopic/a' }],
    });
    expect((await get('/openapi/rm/users/userid?userid=test1,nobody&pageSize=10&currentPage=1')).body).toEqual({
      total: 1,
      data: [row],
    });
    const all = await get('/openapi/rm/users/appid?pageSize=100&currentPage=1');
    expect(all.body.data).toContainEqual({ ...row, cleansession: true });
    await there.kill();
    const records = await rows(`/openapi/rm/device/record?clientid=abc@a0cta0&${windowQuery()}`, 2);
    expect(records.body).toEqual({
      totalCount: 2,
      data: [
        {
          connid: expect.stringMatching(mid),
          ts: expect.stringMatching(ts),
          status: 'disconnect',
          reason: 'socket_error',
          detail: expect.any(String),
        },
        {
          connid: records.body.data[0].connid,
          ts: expect.stringMatching(ts),
          status: 'connect',
          reason: 'normal',
          detail: expect.any(String),
        },
      ],
    });
    expect(JSON.parse(records.body.data[1].detail)).toEqual({
      will_properties: {},
      will: null,
      version: 4,
      ts: expect.any(Number),
      properties: {},
      network: 'mod_mqtt_tcp',
      keep_alive: 60,
      ip: expect.stringMatching(/127\.0\.0\.1:\d+$/),
      clean_start: true,
    });
    const gone = await get('/openapi/rm/broker/clientInfo?clientid=abc@a0cta0');
    expect(gone.body).toMatchObject({ status: 'offline', user: 'test1', dataobject: [], total: 0 });
    expect(await get('/openapi/rm/broker/clientInfo?clientid=never@a0cta0')).toEqual({
      status: 400,
      code: 400,
      msg: "clientId doesn't exist",
      body: null,
    });
  });

  it('over CoAP is one, too, while it is connected', async () => {
    const login = await run(coapClient, [
      '-m',
      'post',
      '-B',
      '10',
      `coap://127.0.0.1:${coapPort}/mqtt/connection?clientid=sensor`,
    ]);
    const [proof] = login.output.trim().split('\n').slice(-1);
    const info = await get('/openapi/rm/broker/clientInfo?clientid=sensor@a0cta0');
    expect(info.body).toMatchObject({ status: 'online', version: 1, keepalive: 30, user: null, cleansession: true });
    const all = await get('/openapi/rm/users/appid?pageSize=100');
    expect(all.body.data.find((one: { clientId: string }) => one.clientId === 'sensor@a0cta0')).toMatchObject({
      protocol: 'coap',
    });
    await run(coapClient, [
      '-m',
      'delete',
      '-B',
      '10',
      `coap://127.0.0.1:${coapPort}/mqtt/connection?clientid=sensor&token=${proof}`,
    ]);
    const records = await rows(`/openapi/rm/device/record?clientid=sensor@a0cta0&${windowQuery()}`, 2);
    expect(records.body.data.map((one: { status: string; reason: string }) => [one.status, one.reason])).toEqual([
      ['disconnect', 'normal'],
      ['connect', 'normal'],
    ]);
    expect(JSON.parse(records.body.data[0].detail)).toMatchObject({ network: 'mod_coap', version: 1 });
  });
});

describe('the document’s examples as they stand there', () => {
  it.each(['%20', '+'])('take a time with %j between day and hour', async (space) => {
    const query = `clientid=abc@a0cta0&beginTime=2021-08-20${space}15:00:00&endTime=2021-08-28${space}19:00:00`;
    expect(await get(`/openapi/rm/device/record?${query}`)).toEqual({
      status: 200,
      code: 200,
      msg: 'success',
      body: { data: [], totalCount: 0 },
    });
  });

  it('take a bare space, too, which curl itself refuses to send', async () => {
    const path =
      '/openapi/rm/device/record?clientid=abc@a0cta0&beginTime=2021-08-20 15:00:00&endTime=2021-08-28 19:00:00';
    const socket = createConnection(Number(new URL(api).port), '127.0.0.1');
    socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: ${token}\r\nConnection: close\r\n\r\n`);
    let answer = '';
    for await (const part of socket) answer += part;
    expect(answer.slice(0, 15)).toBe('HTTP/1.1 200 OK');
    expect(answer).toContain('{"data":[],"totalCount":0}');
  });

  it('have their publish refused for its empty payload, and another application for what it is', async () => {
    const example = {
      clientid: 'clientid0@a0cta0',
      payload: '',
      retain: 0,
      topics: ['msg', 'll'],
      expire: 28_000,
      encoding: 'base64',
      qos: 0,
    };
    const empty = await post('/openapi/v1/rm/chat/publish', example);
    expect([empty.status, empty.msg, empty.body]).toEqual([400, 'payload can not be empty', null]);
    const other = await post('/openapi/v1/rm/chat/publish', {
      ...example,
      clientid: 'clientid0@wyq7c0',
      payload: 'eA==',
    });
    expect([other.status, other.msg]).toEqual([400, "clientid and appid doesn't match"]);
    const broken = await post('/openapi/v1/rm/chat/publish', '{');
    expect([broken.status, broken.msg]).toEqual([400, 'bad_json']);
    expect((await get('/openapi/v1/rm/chat/publish')).msg).toBe('page not found');
  });

  it('take a client id of every odd but legal character', async () => {
    const odd = 'a b+c/d?e=f&g#h%i"j\'k<l>温度';
    const published = await post('/openapi/v1/rm/chat/publish', {
      clientid: `${odd}@a0cta0`,
      payload: 'x',
      topics: ['odd'],
    });
    expect(published.msg).toBe('success');
    const found = await rows(
      `/openapi/rm/message/record?clientid=${encodeURIComponent(`${odd}@a0cta0`)}&${windowQuery()}`,
      1,
    );
    expect(found.body.data[0]).toMatchObject({ cid: `${odd}@a0cta0`, mid: published.body.mids[0] });
  });

  it('go over pages that neither repeat nor skip, and are empty past the end', async () => {
    for (let n = 0; n < 25; n++) await publish(mqttPort, 'pages', `${n}`, ['-i', 'pager', '-q', '1']);
    await rows(`/openapi/rm/message/record?clientid=pager@a0cta0&${windowQuery()}`, 25);
    const seen: string[] = [];
    for (const page of [1, 2, 3, 4]) {
      const { body } = await get(
        `/openapi/rm/message/messages?${windowQuery()}&topic=pages&encode=utf-8&pageSize=10&currentPage=${page}`,
      );
      expect(body.total).toBe(25);
      seen.push(...body.messages.map((one: { message: string }) => one.message));
    }
    expect(seen).toEqual(Array.from({ length: 25 }, (_, n) => `${24 - n}`));
  });
});

describe('beside the API', () => {
  it('health, readiness, metrics, the description of the API and a page for people are served without a token', async () => {
    expect((await curl([], '/healthz')).status).toBe(200);
    const ready = await curl([], '/readyz');
    expect([ready.status, JSON.parse(ready.text).state]).toEqual([200, 'running']);
    const metrics = (await curl([], '/metrics')).text;
    for (const name of [
      'holdfast_messages_received_total{protocol="rest"}',
      'holdfast_messages_acknowledged_total',
      'holdfast_log_commits_total',
      'holdfast_log_bytes',
      'holdfast_index_lag_messages',
      'holdfast_connections{protocol="mqtt"}',
      'holdfast_coap_retransmissions_total',
      'process_resident_memory_bytes',
    ]) {
      expect(metrics).toContain(name);
    }
    const openapi = JSON.parse((await curl([], '/openapi.json')).text);
    expect(Object.keys(openapi.paths).filter((path) => path.startsWith('/openapi/')).length).toBe(13);
    expect((await curl([], '/')).text).toContain('<!doctype html>');
  });

  it('nothing that is kept can be read by others', () => {
    for (const name of [
      'log/CURRENT',
      'index/CURRENT',
      'sessions/CURRENT',
      'tokens.jsonl',
      'identity.json',
      'ballast',
    ]) {
      expect([name, statSync(join(daemon.stateDir, name)).mode & 0o077]).toEqual([name, 0]);
    }
  });

  it('what is asked for is logged without any secret', () => {
    expect(daemon.output).toContain('/openapi/rm/app/token');
    expect(daemon.output).not.toContain(token);
    expect(daemon.output).not.toContain(credentials.appClientSecret);
  });
});

describe('what was acknowledged', () => {
  it('is found by id, by client and by topic after kill -9 under load, and after the loss of the index', async () => {
    const sent: string[] = [];
    let going = true;
    const load = (async () => {
      for (let n = 0; going; n++) {
        const answer = await post('/openapi/v1/rm/chat/publish', {
          clientid: 'load@a0cta0',
          payload: `${n}`,
          topics: ['load'],
        }).catch(() => undefined);
        if (answer?.code === 200) sent.push(answer.body.mids[0]);
        else if (sent.length > 0) return;
      }
    })();
    await eventually(() => sent.length >= 30, '30 publishes');
    await daemon.kill();
    going = false;
    await load;
    const found = async () => {
      const records = await rows(
        `/openapi/rm/message/record?clientid=load@a0cta0&${windowQuery()}&pageSize=1000`,
        sent.length,
      );
      const topic = await rows(`/openapi/rm/message/messages?${windowQuery()}&topic=load&pageSize=1000`, sent.length);
      const ids = new Set(records.body.data.map((one: { mid: string }) => one.mid));
      const contents = new Set(topic.body.messages.map((one: { messageId: string }) => one.messageId));
      expect(sent.filter((one) => !ids.has(one) || !contents.has(one))).toEqual([]);
      expect((await get(`/openapi/rm/message/message?messageId=${sent.at(-1)}`)).code).toBe(200);
    };
    await startDaemon();
    // the token outlives it, too
    await found();
    await daemon.kill();
    rmSync(join(daemon.stateDir, 'index'), { recursive: true });
    await startDaemon();
    await found();
    expect(existsSync(join(daemon.stateDir, 'index'))).toBe(true);
  });
});
