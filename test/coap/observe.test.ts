import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { codes, type NotificationOutcome, type Observation, type ObservationEnd } from '../../src/coap/index.ts';
import { empty, intOf, optionNumber, request, type Sent, Wire } from './support/wire.ts';

let wire: Wire;
let ends: string[];
let observations: Observation[];

function observing(on: Wire, confirmable: boolean): void {
  on.answer = (incoming) => {
    if (incoming.observe !== 0) return { code: codes.content };
    const token = Buffer.from(incoming.token).toString('hex');
    const onEnd = (reason: ObservationEnd) => void ends.push(`${token} ${reason}`);
    const observation = on.server.observe(incoming, { confirmable, onEnd });
    if (observation === undefined) return { code: codes.serviceUnavailable };
    observations.push(observation);
    return { code: codes.content };
  };
}

let nextMid = 1_000;
function register(token = '0a', port = 40_000, on = wire): { observation: Observation; sent: Sent } {
  const [sent] = on.receive(request({ code: 1, mid: nextMid++, token, observe: 0, path: 'ps/a' }), port);
  const observation = observations.at(-1);
  if (observation === undefined || sent === undefined) throw new Error('not registered');
  return { observation, sent };
}

const sequenceOf = (sent: Sent | undefined) => intOf(sent?.options[optionNumber.observe]) ?? -1;
const text = (value: string) => Buffer.from(value);

beforeEach(async () => {
  wire = await Wire.started();
  ends = [];
  observations = [];
  observing(wire, false);
});
afterEach(async () => {
  for (const observation of observations) observation.end();
  await wire.finished();
});

describe('an observation', () => {
  // CON GET Observe:0 token=0a ------>
  //                            <------ ACK 2.05 Observe:n token=0a       RFC 7641 §1.2
  //                            <------ NON 2.05 Observe:n+1 token=0a
  it('starts with an answer that carries Observe, and goes on with notifications of its token', () => {
    const { observation, sent } = register();
    expect(sent).toMatchObject({ type: 'ACK', code: '2.05', token: '0a' });
    const outcomes: NotificationOutcome[] = [];
    observation.notify(text('v'), { contentFormat: 0, maxAge: 7, onSettled: (outcome) => outcomes.push(outcome) });
    const [first] = wire.take();
    expect(first).toMatchObject({ type: 'NON', code: '2.05', token: '0a', payload: 'v', to: '192.0.2.1:40000' });
    expect(sequenceOf(first)).toBe(sequenceOf(sent) + 1);
    expect(intOf(first?.options[optionNumber.maxAge])).toBe(7);
    expect(intOf(first?.options[optionNumber.contentFormat])).toBe(0);
    expect(outcomes).toEqual(['sent']);
    expect(wire.server.observationOf(observation.endpoint, Buffer.from('0a', 'hex'))).toBe(observation);
  });

  it('numbers a burst in the order of its messages, strictly rising', () => {
    const { observation, sent } = register();
    for (let n = 0; n < 50; n++) observation.notify(text(`m${n}`));
    const burst = wire.take();
    expect(burst.map(({ payload }) => payload)).toEqual(Array.from({ length: 50 }, (_, n) => `m${n}`));
    expect(burst.map(sequenceOf)).toEqual(Array.from({ length: 50 }, (_, n) => sequenceOf(sent) + 1 + n));
    expect(new Set(burst.map(({ mid }) => mid)).size).toBe(50);
  });

  it('wraps its numbers after 24 bits', async () => {
    // The start is wall time in units of 16 ms: this one is two before the wrap.
    const wall = (0xff_fffe * 16) % 268_435_456;
    wire.clock.step(wall - (wire.clock.wall() % 268_435_456));
    const { observation, sent } = register();
    observation.notify(text('a'));
    observation.notify(text('b'));
    expect([sent, ...wire.take()].map(sequenceOf)).toEqual([0xff_ffff, 0, 1]);
  });

  it('holds notifications back until its answer has left', () => {
    wire.answer = (incoming) => {
      const observation = wire.server.observe(incoming, { confirmable: false, onEnd: () => undefined });
      observation?.notify(text('early'));
      if (observation !== undefined) observations.push(observation);
      return undefined;
    };
    expect(wire.receive(request({ code: 1, observe: 0 }))).toEqual([]);
    wire.last().respond({ code: codes.content, payload: 'answer' });
    expect(wire.take().map(({ payload }) => payload)).toEqual(['answer', 'early']);
  });

  it('does not start with an answer that is no success', () => {
    wire.answer = (incoming) => {
      wire.server.observe(incoming, { confirmable: false, onEnd: (reason) => void ends.push(reason) });
      return { code: codes.forbidden };
    };
    const [sent] = wire.receive(request({ code: 1, observe: 0 }));
    expect(sent?.code).toBe('4.03');
    expect(sequenceOf(sent)).toBe(-1);
    expect(ends).toEqual(['cancelled']);
    expect(wire.diagnostics().observations).toBe(0);
  });

  it('is replaced by one of the same endpoint and token, whose numbers go on', () => {
    const { observation: older } = register();
    older.notify(text('x'));
    const [last] = wire.take();
    const { observation: newer, sent } = register();
    expect(ends).toEqual(['0a replaced']);
    expect(sequenceOf(sent)).toBeGreaterThan(sequenceOf(last));
    older.notify(text('lost'));
    newer.notify(text('kept'));
    expect(wire.take().map(({ payload }) => payload)).toEqual(['kept']);
    expect(wire.diagnostics().observations).toBe(1);
  });

  it('is another one for another token or endpoint', () => {
    register('0a');
    register('0b');
    register('0a', 40_001);
    expect(wire.diagnostics().observations).toBe(3);
    expect(ends).toEqual([]);
  });

  it('ends with a last message without Observe', () => {
    const { observation } = register();
    observation.end({ code: codes.notFound });
    const [last] = wire.take();
    expect(last).toMatchObject({ type: 'NON', code: '4.04', token: '0a' });
    expect(sequenceOf(last)).toBe(-1);
    expect(ends).toEqual(['0a cancelled']);
    observation.notify(text('late'));
    observation.end({ code: codes.notFound });
    expect(wire.take()).toEqual([]);
    expect(wire.diagnostics().observations).toBe(0);
  });

  it('is not made twice by a retransmitted registration', () => {
    const datagram = request({ code: 1, mid: 9, observe: 0 });
    const [first] = wire.receive(datagram);
    const [again] = wire.receive(datagram);
    expect(again?.bytes).toEqual(first?.bytes);
    expect(observations).toHaveLength(1);
  });

  it('is bounded, per endpoint and in all', async () => {
    const bounded = await Wire.started({ maxObservations: 3, maxObservationsPerEndpoint: 2 });
    observing(bounded, false);
    const ask = (token: string, port: number) =>
      bounded.receive(request({ code: 1, mid: nextMid++, token, observe: 0 }), port)[0]?.code;
    expect([ask('01', 1), ask('02', 1), ask('03', 1), ask('01', 2), ask('01', 3)]).toEqual([
      '2.05',
      '2.05',
      '5.03',
      '2.05',
      '5.03',
    ]);
    expect(ask('01', 1)).toBe('2.05');
    for (const observation of observations.splice(0)) observation.end();
    await bounded.finished();
  });
});

describe('confirmable notifications', () => {
  beforeEach(() => observing(wire, true));

  // <------ CON 2.05 m0
  // ACK ------>
  // <------ CON 2.05 m1          NSTART = 1, RFC 7252 §4.7
  it('are in flight one at a time, numbered when they leave', () => {
    const { observation, sent } = register();
    const outcomes: string[] = [];
    for (let n = 0; n < 4; n++) {
      observation.notify(text(`m${n}`), { onSettled: (outcome) => void outcomes.push(`m${n} ${outcome}`) });
    }
    let flight = wire.take();
    for (let n = 0; n < 4; n++) {
      expect(flight).toMatchObject([{ type: 'CON', payload: `m${n}` }]);
      expect(sequenceOf(flight[0])).toBe(sequenceOf(sent) + 1 + n);
      flight = wire.receive(empty('ACK', flight[0]?.mid ?? -1));
    }
    expect(flight).toEqual([]);
    expect(outcomes).toEqual(['m0 acknowledged', 'm1 acknowledged', 'm2 acknowledged', 'm3 acknowledged']);
  });

  it('drop the oldest that wait beyond the bound, counted', async () => {
    const bounded = await Wire.started({ maxQueuedPerEndpoint: 3 });
    observing(bounded, true);
    const { observation } = register('0a', 40_000, bounded);
    const outcomes: string[] = [];
    for (let n = 0; n < 6; n++) {
      observation.notify(text(`m${n}`), { onSettled: (outcome) => void outcomes.push(`m${n} ${outcome}`) });
    }
    expect(outcomes).toEqual(['m1 dropped', 'm2 dropped']);
    expect(bounded.count('notifications_dropped_total')).toBe(2);
    let flight = bounded.take();
    const payloads: string[] = [];
    while (flight[0] !== undefined) {
      payloads.push(flight[0].payload);
      flight = bounded.receive(empty('ACK', flight[0].mid));
    }
    expect(payloads).toEqual(['m0', 'm3', 'm4', 'm5']);
    observation.end();
    await bounded.finished();
  });

  it('that wait are bounded in all, in number and bytes', async () => {
    const bounded = await Wire.started({ maxQueued: 4, maxQueuedBytes: 1_000 });
    observing(bounded, true);
    const all = [1, 2, 3, 4].map((port) => register('0a', port, bounded).observation);
    for (const observation of all) for (let n = 0; n < 5; n++) observation.notify(text(`m${n}`));
    expect(bounded.diagnostics().queued).toBe(4);
    for (const observation of all) observation.notify(Buffer.alloc(600));
    expect(bounded.diagnostics().queuedBytes).toBeLessThanOrEqual(1_000);
    for (const observation of all) observation.end();
    await bounded.finished();
  });

  // <------ CON 2.05
  // RST ------>                   RFC 7641 §3.6, §4.5
  it('cancel by RST, with what waits', () => {
    const { observation } = register();
    const outcomes: string[] = [];
    for (const payload of ['a', 'b']) {
      observation.notify(text(payload), { onSettled: (outcome) => void outcomes.push(outcome) });
    }
    const [flight] = wire.take();
    expect(wire.receive(empty('RST', flight?.mid ?? -1))).toEqual([]);
    expect(ends).toEqual(['0a reset']);
    expect(outcomes).toEqual(['failed', 'failed']);
    expect(wire.diagnostics()).toMatchObject({ observations: 0, inFlight: 0, queued: 0 });
  });

  it('cancel all observations of an endpoint that does not answer, and no others', () => {
    const { observation } = register('0a');
    register('0b');
    register('0c', 40_001);
    observation.notify(text('a'));
    observation.notify(text('b'));
    expect(wire.pass(61_900)).toHaveLength(4);
    expect(ends).toEqual([]);
    expect(wire.pass(200)).toEqual([]);
    expect(ends.sort()).toEqual(['0a timeout', '0b timeout']);
    expect(wire.diagnostics().observations).toBe(1);
  });

  it('stop being retransmitted when the observation ends', () => {
    const { observation } = register();
    observation.notify(text('a'));
    observation.end();
    wire.take();
    expect(wire.pass(100_000)).toEqual([]);
  });

  it('follow the client to a new address in order, the unacknowledged one first', () => {
    const { observation } = register();
    for (const payload of ['a', 'b', 'c']) observation.notify(text(payload));
    const [before] = wire.take();
    wire.receive(request({ mid: 77 }), 50_000);
    observation.move(wire.last().request.endpoint, Buffer.from('ff', 'hex'));
    const payloads: string[] = [];
    let flight = wire.take();
    while (flight[0] !== undefined) {
      expect(flight[0]).toMatchObject({ token: 'ff', to: '192.0.2.1:50000' });
      expect(sequenceOf(flight[0])).toBeGreaterThan(sequenceOf(before));
      payloads.push(flight[0].payload);
      flight = wire.receive(empty('ACK', flight[0].mid), 50_000);
    }
    expect(payloads).toEqual(['a', 'b', 'c']);
    expect(observation.endpoint.port).toBe(50_000);
    expect(observation.token).toEqual(new Uint8Array([255]));
    expect(ends).toEqual([]);
  });
});

describe('non-confirmable notifications', () => {
  // <------ NON 2.05 mid=n
  // RST mid=n ------>
  it('cancel by RST', () => {
    const { observation } = register('0a');
    const { observation: other } = register('0b');
    observation.notify(text('a'));
    other.notify(text('b'));
    const [, second] = wire.take();
    wire.receive(empty('RST', second?.mid ?? -1));
    expect(ends).toEqual(['0b reset']);
    wire.receive(empty('RST', 12_345));
    expect(ends).toEqual(['0b reset']);
  });

  it('become confirmable once in 24 hours', () => {
    const { observation } = register();
    wire.pass(86_399_000);
    observation.notify(text('a'));
    expect(wire.take()).toMatchObject([{ type: 'NON' }]);
    wire.pass(1_000);
    observation.notify(text('b'));
    observation.notify(text('c'));
    const [confirmable] = wire.take();
    expect(confirmable).toMatchObject({ type: 'CON', payload: 'b' });
    expect(wire.receive(empty('ACK', confirmable?.mid ?? -1))).toMatchObject([{ type: 'NON', payload: 'c' }]);
  });

  it('wait behind a confirmable one of the same endpoint', () => {
    const { observation } = register();
    observing(wire, true);
    const { observation: confirmable } = register('0b');
    observation.notify(text('a'));
    confirmable.notify(text('b'));
    observation.notify(text('c'));
    const sent = wire.take();
    expect(sent.map(({ type, payload }) => `${type} ${payload}`)).toEqual(['NON a', 'CON b']);
    expect(wire.receive(empty('ACK', sent[1]?.mid ?? -1))).toMatchObject([{ type: 'NON', payload: 'c' }]);
  });

  it('do not hold up the answer to a NON request behind a confirmable one', () => {
    observing(wire, true);
    const { observation } = register();
    observation.notify(text('a'));
    expect(wire.receive(request({ type: 'NON', mid: 9, token: 'bb' }))).toMatchObject([{ type: 'NON', token: 'bb' }]);
  });

  it('may be sent one from the settlement of the other, however many', () => {
    const { observation } = register();
    let left = 20_000;
    const next = () => {
      if (left-- > 0) observation.notify(text('x'), { onSettled: next });
    };
    next();
    expect(wire.take()).toHaveLength(20_000);
  });
});

describe('cancelling', () => {
  it('by Observe=1 is the handler’s: it sees the value, and finds the observation', () => {
    const { observation } = register();
    wire.receive(request({ code: 1, mid: 5, token: '0a', observe: 1 }));
    const { request: seen } = wire.last();
    expect(seen.observe).toBe(1);
    wire.server.observationOf(seen.endpoint, seen.token)?.end();
    observation.notify(text('x'));
    expect(wire.take().filter(({ type }) => type === 'NON')).toEqual([]);
    expect(ends).toEqual(['0a cancelled']);
  });

  it('by stop is told, and frees everything', async () => {
    observing(wire, true);
    const { observation } = register();
    const outcomes: NotificationOutcome[] = [];
    observation.notify(text('x'), { onSettled: (outcome) => void outcomes.push(outcome) });
    await wire.server.stop();
    expect(ends).toEqual(['0a stopped']);
    expect(outcomes).toEqual(['failed']);
    expect(wire.clock.armed).toEqual([]);
  });
});
