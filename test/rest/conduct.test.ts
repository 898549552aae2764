import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { createConnection, type Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { FakeClock } from '../support/fake-clock.ts';
import { type Api, startApi } from './support/api.ts';
import { storedMessage } from './support/fakes.ts';

let api: Api | undefined;
afterEach(async () => {
  await api?.stop();
  api = undefined;
});

async function start(given: Parameters<typeof startApi>[0] = {}): Promise<Api> {
  api = await startApi(given);
  return api;
}

const record = '/openapi/rm/device/record?clientid=abc@app&beginTime=2021-08-20+15:00:00&endTime=2021-08-28+19:00:00';
const history =
  '/openapi/rm/message/messages?beginTime=2021-08-20+15:00:00&endTime=2021-08-28+19:00:00&topic=big&pageSize=1000';
const publish = '/openapi/v1/rm/chat/publish';

/** A connection that tests write to and read from themselves. */
function connect(port: number): { socket: Socket; text: () => string; closed: Promise<unknown> } {
  const socket = createConnection({ host: '127.0.0.1', port });
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  socket.on('error', () => undefined);
  return { socket, text: () => text, closed: once(socket, 'close') };
}

/** Keeps queries waiting until what is returned is called. */
function hold(queries: Api['queries']): () => void {
  let open: () => void = () => undefined;
  queries.gate = new Promise((resolve) => {
    open = resolve;
  });
  return open;
}

describe('a body', () => {
  it('over the limit is 413, with or without a length, and the client gets to read that', async () => {
    const { post, ask, token, tokens } = await start();
    const body = Buffer.alloc(2_000_000, 0x20);
    for (const headers of [{}, { 'transfer-encoding': 'chunked' }]) {
      const answer = await post(publish, body, { authorization: token, ...headers });
      expect(answer.json).toEqual({ code: 413, msg: 'payload_too_larger', body: null });
      expect(answer.status).toBe(413);
      expect(answer.headers.connection).toBe('close');
    }
    // who may not come in is told that first
    expect((await ask('POST', publish, {}, body)).status).toBe(403);
    expect(tokens.isAppToken(token)).toBe(true);
  });

  it('that is announced is asked for only where it is wanted', async () => {
    const { raw, token } = await start();
    const head = (authorization: string, length: number) =>
      `POST ${publish} HTTP/1.1\r\nHost: x\r\nAuthorization: ${authorization}\r\nExpect: 100-continue\r\nContent-Length: ${length}\r\n`;
    expect(await raw(`${head('wrong', 10)}\r\n`)).toMatch(/^HTTP\/1.1 403 /);
    expect(await raw(`${head(token, 9_000_000)}\r\n`)).toMatch(/^HTTP\/1.1 413 /);
    expect(await raw(`${head(token, 2)}Connection: close\r\n\r\n{}`)).toMatch(
      /^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 400 /,
    );
  });

  it('of a refused request is passed over: the connection goes on', async () => {
    const { raw, token } = await start();
    const text = await raw(
      `POST ${publish} HTTP/1.1\r\nContent-Length: 12\r\n\r\nGET /a?b c d` +
        `POST /nowhere HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n` +
        `GET /openapi/rm/users/appid HTTP/1.1\r\nAuthorization: ${token}\r\nConnection: close\r\n\r\n`,
    );
    expect(text.match(/HTTP\/1.1 \d+/g)).toEqual(['HTTP/1.1 403', 'HTTP/1.1 404', 'HTTP/1.1 200']);
  });
});

describe('what is no HTTP', () => {
  it.each([
    ['FOO / HTTP/1.1\r\n\r\n', '400 Bad Request', 'bad request'],
    ['GET / HTTP/9.9\r\n\r\n', '400 Bad Request', 'bad request'],
    ['\u0016\u0003\u0001', '400 Bad Request', 'bad request'],
    ['GET /a b HTTP/1.1\r\n\r\n', '400 Bad Request', 'bad request'],
    [`GET / HTTP/1.1\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, '431 Request Header Fields Too Large', 'header too large'],
    [`GET /?x=${'y '.repeat(20_000)} HTTP/1.1\r\n\r\n`, '431 Request Header Fields Too Large', 'header too large'],
    ['POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', '400 Bad Request', 'bad request'],
  ])('%j is answered in the envelope and closed', async (bytes, status, msg) => {
    const text = await (await start()).raw(bytes);
    expect(text.startsWith(`HTTP/1.1 ${status}\r\n`)).toBe(true);
    expect(text.endsWith(`\r\n\r\n${JSON.stringify({ code: Number(status.slice(0, 3)), msg, body: null })}`)).toBe(
      true,
    );
  });

  it('leaves the server as it was', async () => {
    const { raw, get, port } = await start();
    for (let n = 0; n < 50; n++) {
      const bytes = Buffer.from(Array.from({ length: 200 }, (_, at) => (n * 31 + at * at * 7) % 256));
      const { socket, closed } = connect(port);
      socket.end(bytes);
      setImmediate(() => socket.destroy());
      await closed;
    }
    expect(await raw('GET /healthz HTTP/1.0\r\n\r\n')).toMatch(/200 OK[\s\S]*ok\n$/);
    expect((await get('/openapi/rm/users/appid')).status).toBe(200);
  });
});

describe('a request', () => {
  it('that comes too slowly is given up', async () => {
    const limits = { headersTimeout: 150, requestTimeout: 300, checkInterval: 50, slowInterval: 50 };
    const { port, token } = await start({ limits });
    const silent = connect(port);
    const head = connect(port);
    head.socket.write('GET /healthz?a=1 2');
    const body = connect(port);
    body.socket.write(`POST ${publish} HTTP/1.1\r\nHost: x\r\nAuthorization: ${token}\r\nContent-Length: 100\r\n\r\n{`);
    await Promise.all([silent.closed, head.closed, body.closed]);
    expect(head.text()).toMatch(/^HTTP\/1.1 408 Request Timeout\r\n[\s\S]*"msg":"request timeout"/);
  });

  it('may say whatever host it likes, or none, and name the whole URL', async () => {
    const { raw } = await start();
    for (const head of ['GET /healthz HTTP/1.1\r\nHost: evil.example', 'GET http://evil.example/healthz HTTP/1.1']) {
      expect(await raw(`${head}\r\nConnection: close\r\n\r\n`)).toContain('200 OK');
    }
  });

  it('has an id of its own, and answers say how they are to be treated', async () => {
    const { get } = await start();
    const [first, second] = [await get('/healthz'), await get('/nowhere')];
    expect(first?.headers['x-request-id']).not.toBe(second?.headers['x-request-id']);
    for (const { headers } of [first, second]) {
      expect(headers).toMatchObject({
        'x-request-id': expect.stringMatching(/^[0-9a-f]{8}-\d+$/),
        'x-content-type-options': 'nosniff',
        'cache-control': 'no-store',
        'x-frame-options': 'DENY',
      });
      expect(headers['access-control-allow-origin']).toBeUndefined();
      expect(headers['x-powered-by']).toBeUndefined();
    }
  });

  it('is told to the log without its query and without its token', async () => {
    const { get, lines, token } = await start();
    await get(record, { authorization: 'wrong-token' });
    await get(record);
    const text = JSON.stringify(lines);
    expect(text).toContain('/openapi/rm/device/record');
    for (const secret of [token, 'wrong-token', 'abc@app']) expect(text).not.toContain(secret);
  });
});

describe('a connection', () => {
  it('serves one request after the other, each line repaired', async () => {
    const { port, token, queries } = await start();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const ports = new Set<number | undefined>();
    for (let n = 0; n < 3; n++) {
      const sent = request({ host: '127.0.0.1', port, agent, path: record, headers: { authorization: token } });
      sent.end();
      const [response] = await once(sent, 'response');
      ports.add(response.socket.localPort);
      response.resume();
      await once(response, 'end');
    }
    agent.destroy();
    expect(ports.size).toBe(1);
    expect(queries.asked).toBe(3);
    const bare = connect(port);
    const line = `GET ${record.replaceAll('+', ' ')} HTTP/1.1\r\nAuthorization: ${token}\r\n\r\n`;
    for (let n = 1; n <= 3; n++) {
      bare.socket.write(line);
      await vi.waitFor(() => expect(bare.text().match(/200 OK/g)).toHaveLength(n), { interval: 5 });
    }
    bare.socket.destroy();
  });

  it('that is idle is closed, one in use is not', async () => {
    const clock = new FakeClock();
    const { port, queries, token } = await start({ clock });
    const open = hold(queries);
    const idle = connect(port);
    idle.socket.write('GET /healthz HTTP/1.1\r\n\r\n');
    await vi.waitFor(() => expect(idle.text()).toContain('ok\n'), { interval: 5 });
    const used = connect(port);
    used.socket.write(`GET ${record} HTTP/1.1\r\nAuthorization: ${token}\r\n\r\n`);
    await vi.waitFor(() => expect(queries.asked).toBe(1), { interval: 5 });
    clock.advance(20_000);
    await idle.closed;
    expect(used.socket.readyState).toBe('open');
    open();
    await vi.waitFor(() => expect(used.text()).toContain('totalCount'), { interval: 5 });
    clock.advance(20_000);
    await used.closed;
  });

  it('above the limit is not taken', async () => {
    const { port, metrics, get } = await start({ maxConnections: 2 });
    const [first, second] = [connect(port), connect(port)];
    await Promise.all([once(first.socket, 'connect'), once(second.socket, 'connect')]);
    const third = connect(port);
    await third.closed;
    expect(metrics.value('holdfast_rest_connections_refused_total')).toBe(1);
    first.socket.destroy();
    second.socket.destroy();
    await vi.waitFor(async () => expect((await get('/healthz')).status).toBe(200), { interval: 5 });
  });
});

describe('a page of contents', () => {
  const fill = ({ queries }: Api, rows: number) => {
    const payload = Buffer.alloc(65_536, 0x61);
    for (let n = 0; n < rows; n++) queries.messages.push(storedMessage({ topic: 'big', id: BigInt(n), payload }));
  };

  it('is read no faster than the client takes it', async () => {
    const running = await start();
    fill(running, 1_000);
    const { socket, closed } = connect(running.port);
    socket.write(`GET ${history} HTTP/1.1\r\nAuthorization: ${running.token}\r\n\r\n`);
    await once(socket, 'data');
    socket.pause();
    // until nothing more moves
    let before = -1;
    await vi.waitFor(
      () => {
        const { read } = running.queries;
        const still = read === before;
        before = read;
        expect(still).toBe(true);
      },
      { interval: 100, timeout: 10_000 },
    );
    expect(running.queries.read).toBeLessThan(500);
    socket.destroy();
    await closed;
    expect(running.queries.read).toBeLessThan(500);
  });

  it('comes whole', async () => {
    const running = await start();
    fill(running, 100);
    const { json, headers } = await running.get(history);
    expect(headers['transfer-encoding']).toBe('chunked');
    const { body } = json as { body: { total: number; messages: { message: string }[] } };
    expect(body.total).toBe(100);
    expect(body.messages).toHaveLength(100);
    expect(new Set(body.messages.map(({ message }) => Buffer.from(message, 'base64').length))).toEqual(
      new Set([65_536]),
    );
  });

  it('that fails at its beginning is 500, and later is cut off: it never looks whole', async () => {
    const running = await start();
    fill(running, 100);
    running.queries.failAfter = 0;
    expect(await running.get(history)).toMatchObject({ status: 500, json: { code: 500, msg: 'fail', body: null } });
    running.queries.failAfter = 50;
    await expect(running.get(history)).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect(running.lines.filter(([level]) => level === 'error')).toHaveLength(2);
  });
});

describe('queries', () => {
  it('run a few at once; the others wait their turn, and beyond a bound are told to come again', async () => {
    const { get, queries } = await start({ maxConnections: 400 });
    const open = hold(queries);
    const answers = Array.from({ length: 270 }, () => get(record));
    await vi.waitFor(() => expect(queries.asked).toBe(8), { interval: 5 });
    const refused = await Promise.race(answers);
    expect(refused).toMatchObject({ status: 500, headers: { 'retry-after': '1' } });
    expect(queries.asked).toBe(8);
    // what asks nothing is not held up
    expect((await get('/healthz')).status).toBe(200);
    open();
    const all = await Promise.all(answers);
    expect(all.filter(({ status }) => status === 200)).toHaveLength(264);
  });
});

describe('a stop', () => {
  it('finishes what is under way, takes no more, and leaves no timer', async () => {
    const clock = new FakeClock();
    const running = await start({ clock });
    const open = hold(running.queries);
    const idle = connect(running.port);
    idle.socket.write('GET /healthz HTTP/1.1\r\n\r\n');
    await vi.waitFor(() => expect(idle.text()).toContain('ok\n'), { interval: 5 });
    const answer = running.get(record);
    await vi.waitFor(() => expect(running.queries.asked).toBe(1), { interval: 5 });
    const stopped = running.server.stop();
    await idle.closed;
    await expect(running.get('/healthz')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    open();
    expect((await answer).status).toBe(200);
    await stopped;
    expect(clock.armed).toEqual(['token sweep']);
  });

  it('cuts off what does not finish in time, and says so', async () => {
    const clock = new FakeClock();
    const running = await start({ clock });
    const open = hold(running.queries);
    const answer = running.get(record).catch((error: NodeJS.ErrnoException) => error.code);
    await vi.waitFor(() => expect(running.queries.asked).toBe(1), { interval: 5 });
    const stopped = running.server.stop();
    clock.advance(5_000);
    expect(await answer).toBe('ECONNRESET');
    await stopped;
    expect(running.lines.some(([level, fields]) => level === 'warn' && fields.requests === 1)).toBe(true);
    open();
  });

  it('may come before the start, and twice', async () => {
    const { server } = await start();
    await server.stop();
    await server.stop();
  });
});
