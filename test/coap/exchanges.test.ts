import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { codes } from '../../src/coap/index.ts';
import { empty, request, Wire } from './support/wire.ts';

let wire: Wire;
beforeEach(async () => {
  wire = await Wire.started();
});
afterEach(() => wire.finished());

describe('a request that arrives again', () => {
  // CON mid=1 ------>
  //           <------ ACK 2.04
  // CON mid=1 ------>                  RFC 7252 §4.5
  //           <------ ACK 2.04, the same
  it('gets the same answer, and runs once', () => {
    const first = wire.receive(request({ token: 'aabb' }));
    const second = wire.receive(request({ token: 'aabb' }));
    expect(second.map(({ bytes }) => bytes)).toEqual(first.map(({ bytes }) => bytes));
    expect(wire.handled).toHaveLength(1);
    expect(wire.count('duplicates_total')).toBe(1);
    expect(wire.count('requests_total')).toBe(1);
  });

  it('gets the same answer if that has a payload and options', () => {
    const payload = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    wire.answer = () => ({ code: codes.content, payload, etag: Buffer.from('e'), maxAge: 9 });
    const first = wire.receive(request({ code: 1 }));
    expect(first[0]?.bytes.subarray(-256)).toEqual(payload);
    expect(wire.receive(request({ code: 1 }))[0]?.bytes).toEqual(first[0]?.bytes);
    expect(wire.handled).toHaveLength(1);
  });

  it('gets nothing while the handler is busy, then the empty ACK, never a second run', () => {
    wire.answer = () => undefined;
    expect(wire.receive(request())).toEqual([]);
    expect(wire.receive(request())).toEqual([]);
    expect(wire.pass(500)).toMatchObject([{ type: 'ACK', code: '0.00', mid: 1 }]);
    expect(wire.receive(request())).toMatchObject([{ type: 'ACK', code: '0.00', mid: 1 }]);
    wire.last().respond({ code: codes.changed });
    const [separate] = wire.take();
    expect(separate).toMatchObject({ type: 'CON', code: '2.04' });
    expect(wire.receive(request())).toMatchObject([{ type: 'ACK', code: '0.00', mid: 1 }]);
    wire.receive(empty('ACK', separate?.mid ?? -1));
    expect(wire.handled).toHaveLength(1);
  });

  it('is new after 247 s, and a NON after 145 s', () => {
    wire.receive(request());
    wire.receive(request({ type: 'NON', mid: 2 }));
    wire.pass(144_999);
    expect(wire.receive(request({ type: 'NON', mid: 2 }))).toEqual([]);
    wire.pass(1);
    expect(wire.receive(request({ type: 'NON', mid: 2 }))).toHaveLength(1);
    wire.pass(101_999);
    wire.receive(request());
    expect(wire.handled).toHaveLength(3);
    wire.pass(1);
    wire.receive(request());
    expect(wire.handled).toHaveLength(4);
  });

  it('is another request from another endpoint, or with other bytes: a device counts from 1 again', () => {
    wire.receive(request({ payload: '1' }));
    wire.receive(request({ payload: '1' }), 40_001);
    wire.receive(request({ payload: '1' }), 40_000, '192.0.2.2');
    wire.receive(request({ payload: '2' }));
    expect(wire.handled).toHaveLength(4);
    wire.receive(request({ payload: '1' }));
    expect(wire.handled).toHaveLength(4);
  });

  it('is known by its IPv6 address too', () => {
    wire.receive(request(), 40_000, '2001:db8::1');
    wire.receive(request(), 40_000, '2001:db8::1');
    expect(wire.handled).toHaveLength(1);
    expect(wire.last().request.endpoint.key).toBe('coap://memory:5683|[2001:db8::1]:40000');
  });
});

describe('the memory of requests', () => {
  it('forgets the oldest at its bounds, but never one that waits', async () => {
    const bounded = await Wire.started({
      maxRemembered: 16,
      maxRememberedPerEndpoint: 8,
      maxPending: 4,
      maxPendingPerEndpoint: 4,
    });
    bounded.answer = ({ payload }) => (payload.toString() === 'wait' ? undefined : { code: codes.changed });
    bounded.receive(request({ mid: 1, payload: 'wait' }));
    for (let mid = 2; mid <= 100; mid++) bounded.receive(request({ mid }));
    expect(bounded.diagnostics().remembered).toBe(8);
    bounded.receive(request({ mid: 100 }));
    bounded.receive(request({ mid: 1, payload: 'wait' }));
    expect(bounded.handled).toHaveLength(100);
    for (let port = 1; port <= 100; port++) bounded.receive(request({ mid: 7 }), port);
    expect(bounded.diagnostics().remembered).toBe(16);
    expect(bounded.diagnostics().endpoints).toBe(16);
    bounded.receive(request({ mid: 1, payload: 'wait' }));
    expect(bounded.handled).toHaveLength(200);
    bounded.handled[0]?.respond({ code: codes.changed });
    expect(bounded.take()).toMatchObject([{ type: 'ACK', mid: 1 }]);
    await bounded.finished();
  });

  it('is bounded in bytes', async () => {
    const bounded = await Wire.started({ maxRememberedBytes: 10_000 });
    bounded.answer = () => ({ code: codes.content, payload: 'x'.repeat(1_000) });
    for (let mid = 1; mid <= 50; mid++) bounded.receive(request({ mid }));
    expect(bounded.diagnostics().rememberedBytes).toBeLessThanOrEqual(10_000);
    expect(bounded.diagnostics().remembered).toBe(9);
    await bounded.finished();
  });

  it('is empty again after its time, and so is the table of endpoints', () => {
    for (let port = 1; port <= 500; port++) wire.receive(request(), port);
    expect(wire.diagnostics()).toMatchObject({ remembered: 500, endpoints: 500 });
    wire.pass(255_000);
    expect(wire.diagnostics()).toMatchObject({ remembered: 0, endpoints: 0 });
  });
});

describe('a separate response', () => {
  // CON POST  mid=1 ------>
  //                 <------ ACK 0.00 mid=1          after 500 ms, RFC 7252 §5.2.2
  //                 <------ CON 2.04 mid=n, the request's token
  // ACK 0.00  mid=n ------>
  it('follows the empty ACK, and ends with the ACK of the client', () => {
    wire.answer = () => undefined;
    wire.receive(request({ token: '77' }));
    expect(wire.pass(499)).toEqual([]);
    expect(wire.pass(1)).toMatchObject([{ type: 'ACK', code: '0.00', mid: 1, token: '' }]);
    wire.last().respond({ code: codes.changed, payload: 'late' });
    const [separate] = wire.take();
    expect(separate).toMatchObject({ type: 'CON', code: '2.04', token: '77', payload: 'late' });
    expect(wire.diagnostics().inFlight).toBe(1);
    expect(wire.receive(empty('ACK', separate?.mid ?? -1))).toEqual([]);
    expect(wire.diagnostics().inFlight).toBe(0);
    expect(wire.pass(300_000)).toEqual([]);
    expect(wire.diagnostics()).toMatchObject({ remembered: 0, endpoints: 0 });
  });

  // CON 2.04 at 0, 2, 6, 14, 30 s; given up at 62 s          RFC 7252 §4.2, §4.8
  it('is sent again with the same message id until it is given up', () => {
    wire.answer = () => undefined;
    wire.receive(request());
    wire.pass(500);
    wire.last().respond({ code: codes.changed });
    const [first] = wire.take();
    const times: number[] = [];
    for (let ms = 0; ms < 70_000; ms += 100) {
      for (const sent of wire.pass(100)) {
        expect(sent.bytes).toEqual(first?.bytes);
        times.push(ms + 100);
      }
    }
    expect(times).toEqual([2_000, 6_000, 14_000, 30_000]);
    expect(wire.count('retransmissions_total')).toBe(4);
    expect(wire.diagnostics().inFlight).toBe(0);
  });

  it('ends with an RST', () => {
    wire.answer = () => undefined;
    wire.receive(request());
    wire.pass(500);
    wire.last().respond({ code: codes.changed });
    const [first] = wire.take();
    wire.receive(empty('RST', first?.mid ?? -1));
    expect(wire.diagnostics().inFlight).toBe(0);
  });

  it('waits while another is unacknowledged: one at a time for an endpoint', () => {
    wire.answer = () => undefined;
    wire.receive(request({ mid: 1, token: '01' }));
    wire.receive(request({ mid: 2, token: '02' }));
    wire.receive(request({ mid: 3, token: '03' }), 40_001);
    wire.pass(500);
    for (const { respond } of wire.handled) respond({ code: codes.changed });
    const sent = wire.take();
    expect(sent.map(({ token, to }) => [token, to])).toEqual([
      ['01', '192.0.2.1:40000'],
      ['03', '192.0.2.1:40001'],
    ]);
    const next = wire.receive(empty('ACK', sent[0]?.mid ?? -1));
    expect(next).toMatchObject([{ type: 'CON', token: '02' }]);
    wire.receive(empty('ACK', next[0]?.mid ?? -1));
    wire.receive(empty('ACK', sent[1]?.mid ?? -1), 40_001);
  });

  it('is acknowledged only by its own endpoint', () => {
    wire.answer = () => undefined;
    wire.receive(request());
    wire.pass(500);
    wire.last().respond({ code: codes.changed });
    const [first] = wire.take();
    wire.receive(empty('ACK', first?.mid ?? -1), 40_001);
    expect(wire.diagnostics().inFlight).toBe(1);
    wire.receive(empty('ACK', first?.mid ?? -1));
    expect(wire.diagnostics().inFlight).toBe(0);
  });

  it('is 5.03 where the handler never answers, so that nothing waits for ever', () => {
    wire.answer = () => undefined;
    wire.receive(request());
    const sent = wire.pass(247_000);
    expect(sent[1]).toMatchObject({ type: 'CON', code: '5.03' });
    wire.receive(empty('ACK', sent[1]?.mid ?? -1));
  });
});
