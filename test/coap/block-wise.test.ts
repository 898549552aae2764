import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { codes, type Observation } from '../../src/coap/index.ts';
import {
  type Ask,
  block,
  blockText,
  empty,
  intOf,
  optionNumber,
  request,
  type Sent,
  uint,
  Wire,
} from './support/wire.ts';

let wire: Wire;
beforeEach(async () => {
  wire = await Wire.started();
});
afterEach(() => wire.finished());

const body = (length: number) => Array.from({ length }, (_, at) => String.fromCharCode(97 + ((at >> 4) % 26))).join('');

let nextMid = 1;
let nextToken = 1;

/** A block of a body; message id and token are new each time, as libcoap has it. */
function put(whole: string, num: number, size: number, ask: Ask = {}, on = wire): Sent | undefined {
  const part = whole.slice(num * size, (num + 1) * size);
  const more = (num + 1) * size < whole.length;
  const options: (readonly [number, Uint8Array])[] = [[optionNumber.block1, block(num, more, size)]];
  return on.receive(
    request({
      mid: nextMid++,
      token: (nextToken++).toString(16).padStart(4, '0'),
      payload: part,
      ...ask,
      options: [...options, ...(ask.options ?? [])],
    }),
  )[0];
}

function get(num: number, size: number, ask: Ask = {}, on = wire): Sent | undefined {
  const token = (nextToken++).toString(16).padStart(4, '0');
  const options: [number, Uint8Array][] = [[optionNumber.block2, block(num, false, size)]];
  return on.receive(request({ code: 1, mid: nextMid++, token, ...ask, options }))[0];
}

describe('an upload', () => {
  // CON POST 1:0/1/64 ------>
  //                   <------ ACK 2.31 1:0/1/64
  // CON POST 1:1/1/64 ------>                        RFC 7959 §3.2
  //                   <------ ACK 2.31 1:1/1/64
  // CON POST 1:2/0/64 ------>
  //                   <------ ACK 2.04 1:2/0/64
  it('is put together, whatever the tokens, and handled once', () => {
    const whole = body(150);
    for (const num of [0, 1]) {
      const sent = put(whole, num, 64);
      expect(sent).toMatchObject({ type: 'ACK', code: '2.31', payload: '' });
      expect(blockText(sent?.options[optionNumber.block1])).toBe(`${num}/1/64`);
    }
    expect(wire.handled).toEqual([]);
    const last = put(whole, 2, 64);
    expect(last?.code).toBe('2.04');
    expect(blockText(last?.options[optionNumber.block1])).toBe('2/0/64');
    expect(wire.handled.map((one) => one.request.payload.toString())).toEqual([whole]);
    expect(wire.diagnostics()).toMatchObject({ uploads: 0, uploadBytes: 0 });
  });

  it('of one block is a request', () => {
    const last = put('small', 0, 64);
    expect(blockText(last?.options[optionNumber.block1])).toBe('0/0/64');
    expect(wire.last().request.payload.toString()).toBe('small');
  });

  it('may repeat a block with a new message id', () => {
    const whole = body(200);
    for (const num of [0, 1, 1, 2, 2, 1]) expect(put(whole, num, 64)?.code).toBe('2.31');
    expect(put(whole, 3, 64)?.code).toBe('2.04');
    expect(wire.last().request.payload.toString()).toBe(whole);
  });

  it('may repeat a block with the same message id, the last one too', () => {
    const whole = body(100);
    for (const mid of [5_000, 5_000]) expect(put(whole, 0, 64, { mid, token: '01' })?.code).toBe('2.31');
    for (const mid of [5_001, 5_001]) expect(put(whole, 1, 64, { mid, token: '02' })?.code).toBe('2.04');
    expect(wire.handled).toHaveLength(1);
  });

  it('starts over with block 0', () => {
    put(body(200), 0, 64);
    put(body(200), 1, 64);
    const other = body(150).toUpperCase();
    for (const num of [0, 1, 2]) put(other, num, 64);
    expect(wire.handled.map((one) => one.request.payload.toString())).toEqual([other]);
  });

  it.each([
    ['that begins in the middle', [1]],
    ['with a gap', [0, 2]],
  ])('%s is 4.08', (_name, nums) => {
    const codesSent = nums.map((num) => put(body(300), num, 64)?.code);
    expect(codesSent.at(-1)).toBe('4.08');
    expect(wire.diagnostics().uploads).toBe(0);
  });

  it('that repeats a block with other bytes is 4.08', () => {
    put(body(300), 0, 64);
    put(body(300), 1, 64);
    expect(put(body(300).toUpperCase(), 1, 64)?.code).toBe('4.08');
  });

  it('with a block of a wrong length is 4.00', () => {
    expect(put(body(300), 0, 64, { payload: 'short' })?.code).toBe('4.00');
    expect(put(body(300), 0, 64, { payload: body(65) })?.code).toBe('4.00');
  });

  it('is asked for smaller blocks, and goes on with them', async () => {
    const small = await Wire.started({ blockSize: 32 });
    const whole = body(200);
    const first = put(whole, 0, 128, {}, small);
    expect(first?.code).toBe('2.31');
    expect(blockText(first?.options[optionNumber.block1])).toBe('0/1/32');
    for (const num of [4, 5]) expect(put(whole, num, 32, {}, small)?.code).toBe('2.31');
    expect(put(whole, 6, 32, {}, small)?.code).toBe('2.04');
    expect(small.last().request.payload.toString()).toBe(whole);
    await small.finished();
  });

  it('that grows above the limit, or says so, is 4.13 with Size1', async () => {
    const small = await Wire.started({ maxPayload: 100 });
    expect(put(body(300), 0, 64, {}, small)?.code).toBe('2.31');
    const refused = put(body(300), 1, 64, {}, small);
    expect(refused?.code).toBe('4.13');
    expect(intOf(refused?.options[optionNumber.size1])).toBe(100);
    expect(put(body(300), 0, 16, { options: [[optionNumber.size1, uint(300)]] }, small)?.code).toBe('4.13');
    expect(small.diagnostics()).toMatchObject({ uploads: 0, uploadBytes: 0 });
    await small.finished();
  });

  it('is another one for another path, method, query, endpoint or Request-Tag', () => {
    const whole = body(100);
    const tag = (value: string): Ask => ({ options: [[optionNumber.requestTag, Buffer.from(value)]] });
    const asks: Ask[] = [{}, { path: 'b' }, { code: 3 }, { query: ['x'] }, tag('1'), tag('2')];
    for (const ask of asks) expect(put(whole, 0, 64, ask)?.code).toBe('2.31');
    expect(wire.diagnostics().uploads).toBe(6);
    for (const ask of asks) expect(put(whole, 1, 64, ask)?.code).toBe('2.04');
  });

  it('does not count once it is over', () => {
    for (let n = 0; n < 100; n++) {
      expect(put(body(100), 0, 64)?.code).toBe('2.31');
      expect(put(body(100), 1, 64)?.code).toBe('2.04');
    }
  });

  it('is told apart by long queries too', () => {
    const whole = body(100);
    const asks = ['x', 'y'].map((last): Ask => ({ query: ['q'.repeat(255), 'q'.repeat(250), last] }));
    for (const ask of asks) expect(put(whole, 0, 64, ask)?.code).toBe('2.31');
    for (const ask of asks) expect(put(whole, 1, 64, ask)?.code).toBe('2.04');
  });

  it('is forgotten when idle', () => {
    put(body(100), 0, 64);
    wire.pass(100_000);
    expect(wire.diagnostics()).toMatchObject({ uploads: 0, uploadBytes: 0 });
    expect(put(body(100), 1, 64)?.code).toBe('4.08');
  });

  it('is bounded in number and bytes; an idle one gives way, an active one does not', async () => {
    const small = await Wire.started({ maxUploads: 3, maxUploadsPerEndpoint: 2, maxUploadBytes: 1_024 });
    const begin = (port: number, path: string) =>
      small.receive(
        request({ mid: nextMid++, path, payload: body(64), options: [[optionNumber.block1, block(0, true, 64)]] }),
        port,
      )[0]?.code;
    expect([begin(1, 'a'), begin(1, 'b'), begin(1, 'c'), begin(2, 'a'), begin(3, 'a')]).toEqual([
      '2.31',
      '2.31',
      '5.03',
      '2.31',
      '5.03',
    ]);
    small.clock.advance(5_000);
    expect(begin(3, 'a')).toBe('2.31');
    expect(small.diagnostics().uploads).toBe(3);
    expect(small.diagnostics().uploadBytes).toBeLessThanOrEqual(1_024);
    await small.finished();
  });
});

describe('a large answer', () => {
  beforeEach(() => {
    wire.answer = () => ({ code: codes.content, payload: body(2_500), contentFormat: 0 });
  });

  // CON GET         ------>
  //                 <------ ACK 2.05 2:0/1/1024 ETag
  // CON GET 2:1/0/1024 ------>                          RFC 7959 §3.1
  //                 <------ ACK 2.05 2:1/1/1024 ETag
  it('is cut into blocks, and the handler runs once', () => {
    const first = wire.receive(request({ code: 1, mid: 900 }))[0];
    expect(blockText(first?.options[optionNumber.block2])).toBe('0/1/1024');
    expect(intOf(first?.options[optionNumber.size2])).toBe(2_500);
    const second = get(1, 1_024);
    const third = get(2, 1_024);
    expect(blockText(second?.options[optionNumber.block2])).toBe('1/1/1024');
    expect(blockText(third?.options[optionNumber.block2])).toBe('2/0/1024');
    expect(`${first?.payload}${second?.payload}${third?.payload}`).toBe(body(2_500));
    for (const sent of [first, second, third]) {
      expect(sent?.options[optionNumber.etag]).toEqual(first?.options[optionNumber.etag]);
      expect(sent?.options[optionNumber.contentFormat]).toBeDefined();
    }
    expect(wire.handled).toHaveLength(1);
  });

  it('comes in the size that the client asks for, and a smaller one midway', () => {
    const first = get(0, 256);
    expect(blockText(first?.options[optionNumber.block2])).toBe('0/1/256');
    let whole = first?.payload ?? '';
    for (let num = 4; whole.length < 2_500; num++) {
      const sent = get(num, 64);
      expect(sent?.code).toBe('2.05');
      whole += sent?.payload;
    }
    expect(whole).toBe(body(2_500));
    expect(wire.handled).toHaveLength(1);
  });

  it('of one block says so if the request asked', () => {
    wire.answer = () => ({ code: codes.content, payload: 'v' });
    expect(blockText(get(0, 64)?.options[optionNumber.block2])).toBe('0/0/64');
    expect(wire.receive(request({ code: 1, mid: 901 }))[0]?.options[optionNumber.block2]).toBeUndefined();
  });

  it('is made again for a later block of a GET once it is forgotten, never for a POST', () => {
    expect(get(1, 1_024)?.payload).toBe(body(2_500).slice(1_024, 2_048));
    expect(wire.handled).toHaveLength(1);
    expect(get(1, 1_024, { code: 2 })?.code).toBe('4.08');
    expect(wire.handled).toHaveLength(1);
  });

  it('registers no observation with a later block', () => {
    get(2, 1_024, { observe: 0 });
    expect(wire.last().request.observe).toBeUndefined();
  });

  it('ends: a block beyond it is 4.00', () => {
    get(0, 1_024);
    expect(get(3, 1_024)?.code).toBe('4.00');
    expect(get(0xfffff, 16)?.code).toBe('4.00');
  });

  it('is kept per endpoint, bounded in number and bytes, and not for ever', async () => {
    const small = await Wire.started({ maxRepresentations: 3, maxRepresentationBytes: 6_000 });
    small.answer = wire.answer;
    for (let port = 1; port <= 10; port++) small.receive(request({ code: 1 }), port);
    expect(small.diagnostics()).toMatchObject({ representations: 2, representationBytes: 5_000 });
    small.clock.advance(100_000);
    expect(small.diagnostics()).toMatchObject({ representations: 0, representationBytes: 0 });
    await small.finished();
  });

  it('follows an upload, both in blocks', () => {
    const whole = body(200);
    for (const num of [0, 1, 2]) put(whole, num, 64);
    const first = put(whole, 3, 64);
    expect(blockText(first?.options[optionNumber.block1])).toBe('3/0/64');
    expect(blockText(first?.options[optionNumber.block2])).toBe('0/1/1024');
    const second = get(1, 1_024, { code: 2 });
    const third = get(2, 1_024, { code: 2 });
    expect(`${first?.payload}${second?.payload}${third?.payload}`).toBe(body(2_500));
    expect(wire.handled).toHaveLength(1);
  });
});

describe('a large notification', () => {
  function observed(ask: Ask): Observation {
    let observation: Observation | undefined;
    wire.answer = (incoming) => {
      observation = wire.server.observe(incoming, { confirmable: true, onEnd: () => undefined });
      return { code: codes.content };
    };
    wire.receive(request({ code: 1, mid: nextMid++, token: '0a', observe: 0, path: 'ps/big', ...ask }));
    if (observation === undefined) throw new Error('not registered');
    wire.answer = () => ({ code: codes.notFound });
    return observation;
  }

  // <------ CON 2.05 Observe 2:0/1/1024
  // ACK ------>
  // CON GET 2:1/0/1024 ------>  a new token, no Observe          RFC 7959 §3.3
  // <------ ACK 2.05 2:1/1/1024
  it('comes as its first block; the client fetches the others', () => {
    const observation = observed({});
    observation.notify(Buffer.from(body(2_500)));
    const [first] = wire.take();
    expect(first).toMatchObject({ type: 'CON', token: '0a' });
    expect(first?.options[optionNumber.observe]).toBeDefined();
    expect(blockText(first?.options[optionNumber.block2])).toBe('0/1/1024');
    wire.receive(empty('ACK', first?.mid ?? -1));
    const second = get(1, 1_024, { path: 'ps/big' });
    const third = get(2, 1_024, { path: 'ps/big' });
    expect(second?.options[optionNumber.observe]).toBeUndefined();
    expect(second?.options[optionNumber.etag]).toEqual(first?.options[optionNumber.etag]);
    expect(`${first?.payload}${second?.payload}${third?.payload}`).toBe(body(2_500));
    expect(wire.handled).toHaveLength(1);
    observation.end();
  });

  it('keeps to the size of the registration', () => {
    const observation = observed({ options: [[optionNumber.block2, block(0, false, 64)]] });
    observation.notify(Buffer.from(body(100)));
    const [first] = wire.take();
    expect(blockText(first?.options[optionNumber.block2])).toBe('0/1/64');
    observation.end();
  });

  it('replaces the former one: another ETag tells a client that is halfway', () => {
    const observation = observed({});
    observation.notify(Buffer.from(body(2_500)));
    const [first] = wire.take();
    wire.receive(empty('ACK', first?.mid ?? -1));
    observation.notify(Buffer.from(body(2_500).toUpperCase()));
    wire.take();
    const second = get(1, 1_024, { path: 'ps/big' });
    expect(second?.options[optionNumber.etag]).not.toEqual(first?.options[optionNumber.etag]);
    observation.end();
  });
});
