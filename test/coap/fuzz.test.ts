import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type CoapOptions, codes, encode, type Observation, type Respond } from '../../src/coap/index.ts';
import { optionNumber, request, Wire } from './support/wire.ts';

const seed = 20260102;

const bounds: Partial<CoapOptions> = {
  maxRemembered: 256,
  maxRememberedPerEndpoint: 64,
  maxRememberedBytes: 20_000,
  maxPending: 32,
  maxPendingPerEndpoint: 8,
  maxUploads: 8,
  maxUploadsPerEndpoint: 4,
  maxUploadBytes: 20_000,
  maxRepresentations: 8,
  maxRepresentationBytes: 20_000,
  maxObservations: 16,
  maxObservationsPerEndpoint: 8,
  maxQueuedPerEndpoint: 4,
  maxQueued: 32,
  maxQueuedBytes: 20_000,
  maxPayload: 4_000,
};

const option = fc.oneof(
  fc.tuple(
    fc.constant(optionNumber.uriPath),
    fc.constantFrom('a', 'ps', 'b').map(Buffer.from as (t: string) => Buffer),
  ),
  fc.tuple(
    fc.constantFrom(optionNumber.block1, optionNumber.block2),
    fc
      .oneof(
        fc.constantFrom([8], [0], [24], [16], [14], [30], []),
        fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 4 }),
      )
      .map((bytes) => Buffer.from(bytes)),
  ),
  fc.tuple(
    fc.constant(optionNumber.observe),
    fc.constantFrom('', '\x01').map((text) => Buffer.from(text)),
  ),
  fc.tuple(
    fc.constantFrom(...Object.values(optionNumber), 9, 258, 2_049, 65_000),
    fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes)),
  ),
);

const grammar = fc
  .record({
    type: fc.integer({ min: 0, max: 3 }),
    code: fc.oneof(fc.integer({ min: 0, max: 7 }), fc.integer({ min: 0, max: 255 })),
    messageId: fc.integer({ min: 0, max: 40 }),
    token: fc.uint8Array({ maxLength: 2 }),
    options: fc.array(option, { maxLength: 5 }),
    payload: fc.oneof(fc.constant(Buffer.alloc(16, 1)), fc.uint8Array({ maxLength: 70 })),
  })
  .map((parts) => encode(parts));

const mutated = fc
  .tuple(grammar, fc.array(fc.tuple(fc.nat(200), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }), fc.nat(80))
  .map(([datagram, changes, cut]) => {
    const bytes = Buffer.from(datagram);
    for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
    return cut < 20 ? bytes.subarray(0, cut) : bytes;
  });

const event = fc.oneof(
  { weight: 6, arbitrary: fc.record({ datagram: grammar, port: fc.integer({ min: 0, max: 20 }) }) },
  { weight: 3, arbitrary: fc.record({ datagram: mutated, port: fc.integer({ min: 0, max: 20 }) }) },
  { weight: 1, arbitrary: fc.record({ pass: fc.constantFrom(10, 600, 3_000, 40_000, 150_000) }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constantFrom('respond', 'notify', 'acknowledge', 'move', 'end') }) },
);

it('whatever arrives, state stays within its bounds, the server answers, and nothing is left', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { minLength: 50, maxLength: 400 }), async (events) => {
      const wire = await Wire.started(bounds);
      const waiting: Respond[] = [];
      const observations: Observation[] = [];
      let handled = 0;
      wire.answer = (incoming) => {
        handled += 1;
        if (incoming.observe === 0) {
          const confirmable = handled % 2 === 0;
          const observation = wire.server.observe(incoming, { confirmable, onEnd: () => undefined });
          if (observation === undefined) return { code: codes.serviceUnavailable };
          observations.push(observation);
        }
        if (handled % 5 === 0) {
          waiting.push(wire.last().respond);
          return undefined;
        }
        return { code: codes.content, payload: 'x'.repeat(handled % 3 === 0 ? 3_000 : handled % 50) };
      };
      for (const [at, one] of events.entries()) {
        if ('datagram' in one) wire.transport.listener?.received(Buffer.from(one.datagram), '192.0.2.1', one.port);
        else if ('pass' in one) wire.clock.advance(one.pass);
        else {
          const observation = observations[at % Math.max(1, observations.length)];
          if (one.act === 'respond') waiting.shift()?.({ code: codes.changed });
          else if (one.act === 'notify') {
            for (let n = 0; n < 5; n++) observation?.notify(Buffer.alloc(n * 700));
          } else if (one.act === 'end') observation?.end({ code: codes.notFound });
          else if (one.act === 'move') {
            const endpoint = wire.handled.at(-1)?.request.endpoint;
            if (endpoint !== undefined) observation?.move(endpoint, Buffer.from([at & 255]));
          } else {
            for (const sent of wire.take().filter(({ type }) => type === 'CON')) {
              const ack = encode({ type: 2, code: 0, messageId: sent.mid });
              wire.transport.listener?.received(ack, '192.0.2.1', Number(sent.to.split(':')[1]));
            }
          }
        }
        const state = wire.diagnostics();
        expect(state.remembered).toBeLessThanOrEqual(256);
        expect(state.rememberedBytes).toBeLessThanOrEqual(20_000);
        expect(state.pending).toBeLessThanOrEqual(32);
        expect(state.uploads).toBeLessThanOrEqual(8);
        expect(state.uploadBytes).toBeLessThanOrEqual(20_000);
        expect(state.representations).toBeLessThanOrEqual(8);
        expect(state.representationBytes).toBeLessThanOrEqual(20_000);
        expect(state.observations).toBeLessThanOrEqual(16);
        expect(state.queued).toBeLessThanOrEqual(32);
        expect(state.queuedBytes).toBeLessThanOrEqual(20_000);
        expect(state.endpoints).toBeLessThanOrEqual(20);
      }
      for (const respond of waiting) respond({ code: codes.changed });
      for (const observation of observations) observation.end();
      wire.answer = () => ({ code: codes.changed });
      expect(wire.receive(request({ mid: 60_000 }), 30_000)).toMatchObject([{ type: 'ACK', code: '2.04' }]);
      wire.clock.advance(600_000);
      await wire.finished();
    }),
    { seed, numRuns: 60 },
  );
});
