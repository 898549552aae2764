import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HoldfastError } from '../../src/base/index.ts';
import { codes } from '../../src/coap/index.ts';
import { block, empty, intOf, optionNumber, request, uint, Wire } from './support/wire.ts';

let wire: Wire;
beforeEach(async () => {
  wire = await Wire.started();
});
afterEach(() => wire.finished());

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');

describe('a datagram that is no message', () => {
  const formatErrors: readonly [string, string][] = [
    ['a token length of 9', '49 02 1234'],
    ['a token length of 15', '4f 02 1234 000102030405060708090a0b0c0d0e0f'],
    ['a token cut short', '44 02 1234 0102'],
    ['an option cut short', '40 02 1234 b3 61'],
    ['an extended delta cut short', '40 02 1234 d0'],
    ['a two-byte delta cut short', '40 02 1234 e0 01'],
    ['an extended length cut short', '40 02 1234 0d'],
    ['a two-byte length cut short', '40 02 1234 0e 01'],
    ['an option delta of 15', '40 02 1234 f0'],
    ['an option length of 15', '40 02 1234 0f'],
    ['an option number above 65,535', '40 02 1234 e0ffff e0ffff'],
    ['a payload marker without payload', '40 02 1234 ff'],
    ['an empty message with a token', '41 00 1234 01'],
    ['an empty message with a payload', '40 00 1234 ff 01'],
    ['reserved class 1', '40 21 1234'],
    ['reserved class 6', '40 c1 1234'],
    ['reserved class 7', '40 e1 1234'],
  ];

  // CON, unreadable ------>
  //                 <------ RST, same message id          RFC 7252 §4.2
  it.each(formatErrors)('is reset if it is a CON with %s', (_name, text) => {
    expect(wire.receive(hex(text))).toMatchObject([{ type: 'RST', code: '0.00', mid: 0x1234, token: '' }]);
    expect(wire.count('parse_errors_total')).toBe(1);
    expect(wire.diagnostics().endpoints).toBe(0);
  });

  it.each(formatErrors)('is ignored if it is a NON, ACK or RST with %s', (_name, text) => {
    for (const type of [1, 2, 3]) {
      const datagram = hex(text);
      datagram[0] = (datagram[0] as number) | (type << 4);
      expect(wire.receive(datagram)).toEqual([]);
    }
  });

  it.each(['', '40', '4002', '400212'])('is ignored and counted if it is only "%s"', (text) => {
    expect(wire.receive(hex(text))).toEqual([]);
    expect(wire.count('parse_errors_total')).toBe(1);
  });

  it.each([0, 2, 3])('is ignored if its version is %d', (version) => {
    const datagram = request();
    datagram[0] = ((datagram[0] as number) & 0x3f) | (version << 6);
    expect(wire.receive(datagram)).toEqual([]);
  });

  it('is ignored and counted if it comes from port 0', () => {
    expect(wire.receive(request(), 0)).toEqual([]);
    expect(wire.handled).toEqual([]);
    expect(wire.count('unanswerable_total')).toBe(1);
  });
});

describe('a message without a request', () => {
  it('is reset if it is an empty CON, a ping', () => {
    expect(wire.receive(empty('CON', 7))).toMatchObject([{ type: 'RST', mid: 7 }]);
    expect(wire.count('resets_total', { direction: 'sent' })).toBe(1);
  });

  it('is ignored if it is an empty NON, a stray ACK or a stray RST', () => {
    for (const type of ['NON', 'ACK', 'RST'] as const) expect(wire.receive(empty(type, 7))).toEqual([]);
    expect(wire.count('resets_total', { direction: 'received' })).toBe(1);
  });

  it('is reset if it is a CON response that nobody waits for, and ignored as ACK or NON', () => {
    expect(wire.receive(request({ code: codes.content, mid: 9 }))).toMatchObject([{ type: 'RST', mid: 9 }]);
    expect(wire.receive(request({ code: codes.content, type: 'ACK' }))).toEqual([]);
    expect(wire.receive(request({ code: codes.content, type: 'NON' }))).toEqual([]);
  });

  it('is ignored if it is an ACK or RST with a request code', () => {
    expect(wire.receive(request({ type: 'ACK' }))).toEqual([]);
    expect(wire.receive(request({ type: 'RST' }))).toEqual([]);
    expect(wire.handled).toEqual([]);
  });
});

describe('the options of a request', () => {
  it('reach the handler decoded, one entry each', () => {
    wire.receive(
      request({
        code: 1,
        path: 'ps/ä/+',
        query: ['c=1', 'a=b=c', ''],
        observe: 0,
        options: [
          [optionNumber.contentFormat, uint(50)],
          [optionNumber.accept, uint(40)],
          [optionNumber.etag, Buffer.from('aa')],
          [optionNumber.etag, Buffer.from('bb')],
          [optionNumber.uriHost, Buffer.from('gateway')],
          [optionNumber.uriPort, uint(5683)],
        ],
        payload: 'body',
      }),
    );
    const { request: seen } = wire.last();
    expect(seen).toMatchObject({
      confirmable: true,
      method: 1,
      path: ['ps', 'ä', '+'],
      query: ['c=1', 'a=b=c', ''],
      badText: false,
      observe: 0,
      contentFormat: 50,
      accept: 40,
    });
    expect(seen.etags.map(String)).toEqual(['aa', 'bb']);
    expect(seen.payload.toString()).toBe('body');
    expect(seen.token.toString('hex')).toBe('01');
    expect(seen.endpoint).toMatchObject({ address: '192.0.2.1', port: 40_000, secure: false });
    expect(seen.endpoint.key).toBe('coap://memory:5683|192.0.2.1:40000');
  });

  it('say so where text is no UTF-8, and U+FFFD itself is text', () => {
    wire.receive(request({ mid: 1, options: [[optionNumber.uriPath, Buffer.from([0x61, 0xff])]] }));
    expect(wire.last().request.badText).toBe(true);
    wire.receive(request({ mid: 2, options: [[optionNumber.uriQuery, Buffer.from([0xc0, 0x80])]] }));
    expect(wire.last().request.badText).toBe(true);
    wire.receive(request({ mid: 3, path: '\ufffd' }));
    expect(wire.last().request).toMatchObject({ badText: false, path: ['\ufffd'] });
  });

  const refused: readonly [string, number, Uint8Array, string][] = [
    ['an unknown critical option', 9, Buffer.from('x'), '4.02'],
    ['an unknown critical option of a high number', 65_001, Buffer.alloc(0), '4.02'],
    ['an Accept that is too long', optionNumber.accept, Buffer.alloc(3), '4.02'],
    ['a Uri-Host without a name', optionNumber.uriHost, Buffer.alloc(0), '4.02'],
    ['a Uri-Path of 256 bytes', optionNumber.uriPath, Buffer.alloc(256, 97), '4.02'],
    ['Q-Block1', 19, uint(8), '4.02'],
    ['If-Match', optionNumber.ifMatch, Buffer.from('e'), '4.12'],
    ['If-None-Match', optionNumber.ifNoneMatch, Buffer.alloc(0), '4.12'],
    ['an If-None-Match with a value', optionNumber.ifNoneMatch, Buffer.from('e'), '4.02'],
    ['Proxy-Uri', optionNumber.proxyUri, Buffer.from('coap://x'), '5.05'],
    ['Proxy-Scheme', optionNumber.proxyScheme, Buffer.from('coap'), '5.05'],
    ['a Block1 of SZX 7', optionNumber.block1, Buffer.from([7]), '4.00'],
    ['a Block2 of SZX 7', optionNumber.block2, Buffer.from([15]), '4.00'],
    ['a Block1 of 4 bytes', optionNumber.block1, Buffer.alloc(4, 1), '4.00'],
  ];

  it.each(refused)('refuse %s', (_name, number, value, code) => {
    expect(wire.receive(request({ mid: 5, options: [[number, value]] }))).toMatchObject([
      { type: 'ACK', code, mid: 5, token: '01', payload: '' },
    ]);
    expect(wire.handled).toEqual([]);
    expect(wire.diagnostics().remembered).toBe(0);
  });

  it.each([optionNumber.accept, optionNumber.uriHost, optionNumber.uriPort, optionNumber.block2])(
    'refuse a repeated critical option %d',
    (number) => {
      const value = Buffer.from([1]);
      const sent = wire.receive(
        request({
          options: [
            [number, value],
            [number, value],
          ],
        }),
      );
      expect(sent).toMatchObject([{ type: 'ACK', code: '4.02' }]);
    },
  );

  it('reject a NON with an unknown critical option, as a message', () => {
    const sent = wire.receive(request({ type: 'NON', mid: 5, options: [[9, Buffer.from('x')]] }));
    expect(sent).toMatchObject([{ type: 'RST', mid: 5 }]);
  });

  it('do not stand in the way where an elective one is unknown, repeated or too long', () => {
    const options: [number, Uint8Array][] = [
      [2_048, Buffer.from('x')],
      [optionNumber.contentFormat, uint(1)],
      [optionNumber.contentFormat, uint(2)],
      [optionNumber.observe, Buffer.alloc(4, 1)],
      [optionNumber.requestTag, Buffer.from('t')],
    ];
    expect(wire.receive(request({ options }))).toMatchObject([{ code: '2.04' }]);
    expect(wire.last().request).toMatchObject({ contentFormat: 1, observe: undefined });
  });

  it('may be many, but not without end', () => {
    expect(wire.receive(request({ mid: 1, path: 'a/'.repeat(200) }))).toMatchObject([{ code: '2.04' }]);
    expect(wire.receive(request({ mid: 2, path: 'a/'.repeat(300) }))).toMatchObject([{ code: '4.00' }]);
  });
});

describe('an answer', () => {
  // CON POST ------>
  //          <------ ACK 2.04          RFC 7252 §5.2.1
  it('rides on the ACK if it is there at once', () => {
    expect(wire.receive(request({ mid: 0xabcd, token: '0102030405060708' }))).toMatchObject([
      { type: 'ACK', code: '2.04', mid: 0xabcd, token: '0102030405060708', payload: '', to: '192.0.2.1:40000' },
    ]);
  });

  it('carries its options', () => {
    wire.answer = () => ({
      code: codes.content,
      payload: 'ä',
      contentFormat: 40,
      maxAge: 300,
      etag: Buffer.from('v1'),
    });
    const [sent] = wire.receive(request({ code: 1 }));
    expect(sent).toMatchObject({ code: '2.05', payload: 'ä' });
    expect(intOf(sent?.options[optionNumber.contentFormat])).toBe(40);
    expect(intOf(sent?.options[optionNumber.maxAge])).toBe(300);
    expect(sent?.options[optionNumber.etag]?.toString()).toBe('v1');
  });

  it('to a NON is a NON with a message id of its own', () => {
    const [sent] = wire.receive(request({ type: 'NON', mid: 3 }));
    expect(sent).toMatchObject({ type: 'NON', code: '2.04', token: '01' });
    const [second] = wire.receive(request({ type: 'NON', mid: 4 }));
    expect(second?.mid).not.toBe(sent?.mid);
  });

  it('counts once', () => {
    wire.receive(request());
    wire.last().respond({ code: codes.content });
    expect(wire.take()).toEqual([]);
  });

  it('is 5.00, without the reason, if the handler throws', () => {
    wire.answer = () => {
      throw new Error('secret');
    };
    expect(wire.receive(request())).toMatchObject([{ type: 'ACK', code: '5.00', payload: '' }]);
  });

  it('passes methods on as they are', () => {
    wire.receive(request({ code: 31 }));
    expect(wire.last().request.method).toBe(31);
  });

  it('that cannot be sent is counted, and the server goes on', () => {
    wire.transport.failure = new Error('EPERM');
    wire.receive(request({ mid: 1 }));
    expect(wire.count('send_errors_total')).toBe(1);
    wire.transport.failure = undefined;
    expect(wire.receive(request({ mid: 1 }))).toMatchObject([{ type: 'ACK', code: '2.04' }]);
    expect(wire.handled).toHaveLength(1);
  });

  it('to a body above the limit is 4.13 with Size1', async () => {
    const small = await Wire.started({ maxPayload: 100 });
    const [sent] = small.receive(request({ payload: 'x'.repeat(101) }));
    expect(sent?.code).toBe('4.13');
    expect(intOf(sent?.options[optionNumber.size1])).toBe(100);
    expect(small.receive(request({ mid: 2, payload: 'x'.repeat(100) }))).toMatchObject([{ code: '2.04' }]);
    await small.finished();
  });
});

describe('overload', () => {
  it('is answered with 5.03 and Max-Age 1, a NON with nothing, and passes', async () => {
    const busy = await Wire.started({ maxPending: 3, maxPendingPerEndpoint: 2 });
    busy.answer = () => undefined;
    for (const mid of [1, 2]) expect(busy.receive(request({ mid }))).toEqual([]);
    const [refused] = busy.receive(request({ mid: 3 }));
    expect(refused).toMatchObject({ type: 'ACK', code: '5.03', mid: 3 });
    expect(intOf(refused?.options[optionNumber.maxAge])).toBe(1);
    expect(busy.receive(request({ mid: 4, type: 'NON' }))).toEqual([]);
    expect(busy.receive(request({ mid: 1 }), 40_001)).toEqual([]);
    expect(busy.receive(request({ mid: 1 }), 40_002)).toMatchObject([{ code: '5.03' }]);
    expect(busy.count('overload_total')).toBe(3);
    for (const { respond } of busy.handled) respond({ code: codes.changed });
    busy.answer = () => ({ code: codes.changed });
    expect(busy.receive(request({ mid: 5 }))).toMatchObject([{ code: '2.04' }]);
    await busy.finished();
  });

  it('does not follow from a block option of any number', () => {
    for (const num of [1, 4_096, 0xfffff]) {
      const sent = wire.receive(
        request({ mid: num & 0xffff, options: [[optionNumber.block1, block(num, false, 1024)]] }),
      );
      expect(['4.08', '4.13']).toContain(sent[0]?.code);
    }
    expect(wire.diagnostics().uploadBytes).toBe(0);
  });
});

describe('stop', () => {
  it('takes no more requests, waits for answers that are due, and leaves no timer', async () => {
    wire.answer = () => undefined;
    wire.receive(request({ mid: 1 }));
    const stopped = wire.server.stop();
    expect(wire.receive(request({ mid: 2 }))).toEqual([]);
    wire.last().respond({ code: codes.changed });
    expect(wire.take()).toMatchObject([{ type: 'ACK', code: '2.04', mid: 1 }]);
    await stopped;
    expect(wire.clock.armed).toEqual([]);
  });

  it('reads a socket that somebody holds no more, and takes what came of it all the same', async () => {
    wire.transport.held = true;
    wire.answer = () => undefined;
    wire.receive(request({ mid: 1 }));
    expect(wire.transport.paused).toBe(false);
    const stopped = wire.server.stop();
    expect(wire.transport.paused).toBe(true);
    const first = wire.last();
    wire.receive(request({ mid: 2 }));
    const second = wire.last();
    first.respond({ code: codes.changed });
    expect(wire.transport.listener).toBeDefined();
    second.respond({ code: codes.changed });
    expect(wire.take()).toMatchObject([{ mid: 1 }, { mid: 2, code: '2.04' }]);
    await stopped;
    expect(wire.transport.listener).toBeUndefined();
    expect(wire.clock.armed).toEqual([]);
  });

  it('gives up an answer that does not come, and ignores it later', async () => {
    wire.answer = () => undefined;
    wire.receive(request({ mid: 1 }));
    const stopped = wire.server.stop();
    wire.clock.advance(1_000);
    await stopped;
    wire.last().respond({ code: codes.changed });
    expect(wire.take().filter(({ code }) => code !== '0.00')).toEqual([]);
    expect(wire.clock.armed).toEqual([]);
  });

  it('is harmless before start and twice', async () => {
    const fresh = new Wire();
    await fresh.server.stop();
    await fresh.server.stop();
    expect(fresh.clock.armed).toEqual([]);
  });
});

describe('start', () => {
  it('that cannot bind closes what was open, and leaves no timer', async () => {
    const failing = new Wire();
    const bad = new HoldfastError('start_failed', 'in use');
    failing.transport.start = () => Promise.reject(bad);
    await expect(failing.server.start()).rejects.toBe(bad);
    expect(failing.clock.armed).toEqual([]);
  });
});
