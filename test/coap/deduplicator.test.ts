import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Deadlines } from '../../src/coap/deadlines.ts';
import { Deduplicator, seen } from '../../src/coap/deduplicator.ts';
import { type Peer, PeerTable } from '../../src/coap/peers.ts';
import { MemoryTransport } from './support/wire.ts';

const seed = 20260103;

interface Entry {
  readonly peer: Peer;
  readonly messageId: number;
  readonly fingerprint: number;
  state: number;
  expires: number;
  bytes: number;
}

/** The same as plain lists: oldest first, what waits becomes the newest instead of being forgotten. */
class Model {
  entries: Entry[] = [];

  find(peer: Peer, messageId: number, fingerprint: number, now: number): Entry | undefined {
    return this.entries.findLast(
      (one) =>
        one.peer === peer &&
        one.messageId === messageId &&
        one.fingerprint === fingerprint &&
        (one.state === seen.pending || one.expires > now),
    );
  }

  forgetOldest(which: (entry: Entry) => boolean): void {
    const at = this.entries.findIndex(which);
    for (const entry of this.entries.splice(at, 1)) if (entry.state === seen.pending) this.entries.push(entry);
  }
}

const step = fc.record({
  port: fc.integer({ min: 1, max: 4 }),
  messageId: fc.integer({ min: 0, max: 12 }),
  fingerprint: fc.integer({ min: 0, max: 1 }),
  answer: fc.constantFrom('none', 'code', 'reply'),
  pass: fc.constantFrom(0, 0, 0, 40),
});

describe('the memory of requests', () => {
  it('is the same as a list, whatever the order of requests, answers and time', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const transport = new MemoryTransport();
        let random = 0.1;
        const peers = new PeerTable(() => {
          random = (random * 7.13) % 1;
          return random;
        });
        const deduplicator = new Deduplicator({
          capacity: 24,
          perPeer: 10,
          maxReplyBytes: 1_000_000,
          hold: (peer) => peers.hold(peer),
          release: (peer) => peers.release(peer),
        });
        const model = new Model();
        let now = 0;
        for (const { port, messageId, fingerprint, answer, pass } of steps) {
          now += pass;
          const peer = peers.at(transport, '192.0.2.1', port);
          const known = model.find(peer, messageId, fingerprint, now);
          const slot = deduplicator.find(peer, messageId, fingerprint, now);
          expect(slot !== 0).toBe(known !== undefined);
          if (known === undefined) {
            const pending = model.entries.filter(({ state }) => state === seen.pending).length;
            const state = pending < 4 ? seen.pending : seen.silent;
            const expires = now + 100;
            while (model.entries.filter((one) => one.peer === peer).length >= 10) {
              model.forgetOldest((one) => one.peer === peer);
            }
            deduplicator.insert(peer, messageId, fingerprint, state, expires);
            model.entries.push({ peer, messageId, fingerprint, state, expires, bytes: 0 });
          } else {
            expect(deduplicator.state(slot)).toBe(known.state);
            if (known.state === seen.pending && answer !== 'none') {
              known.state = answer === 'code' ? seen.code : seen.reply;
              if (answer === 'code') deduplicator.setCode(slot, 68);
              else {
                deduplicator.setReply(slot, Buffer.alloc(9));
                known.bytes = 9;
              }
            }
          }
          // The ring may pass over emptied slots early: the model follows what was forgotten for want of room.
          const kept = model.entries.filter((one) => {
            const found = deduplicator.find(one.peer, one.messageId, one.fingerprint, -1);
            return found !== 0;
          });
          const lost = model.entries.filter((one) => !kept.includes(one));
          for (const one of lost) expect(one.state).not.toBe(seen.pending);
          const newestLost = Math.max(-1, ...lost.map((one) => model.entries.indexOf(one)));
          const olderKept = kept.filter((one) => model.entries.indexOf(one) < newestLost && one.state !== seen.pending);
          expect(olderKept).toEqual([]);
          model.entries = kept;
          expect(deduplicator.size).toBe(kept.length);
          expect(deduplicator.size).toBeLessThanOrEqual(24);
          expect(deduplicator.replyBytes).toBe(kept.reduce((sum, { bytes }) => sum + bytes, 0));
          expect(peers.size).toBe(new Set(kept.map((one) => one.peer)).size);
        }
        deduplicator.clear();
        expect([deduplicator.size, deduplicator.replyBytes, peers.size]).toEqual([0, 0, 0]);
      }),
      { seed, numRuns: 200 },
    );
  });

  it('finds what it has, the newest of what is the same, however much that becomes', () => {
    const transport = new MemoryTransport();
    const peers = new PeerTable(Math.random);
    const deduplicator = new Deduplicator({
      capacity: 20_000,
      perPeer: 20_000,
      maxReplyBytes: 1_000_000,
      hold: (peer) => peers.hold(peer),
      release: (peer) => peers.release(peer),
    });
    const requests = Array.from({ length: 10_000 }, (_, n) => ({ port: 1 + (n % 50), messageId: n, fingerprint: n }));
    // again once they have expired, and before a sweep: both lie there
    for (const [state, expires] of [
      [seen.silent, 10],
      [seen.pending, 1_000],
    ] as const) {
      for (const { port, messageId, fingerprint } of requests) {
        deduplicator.insert(peers.at(transport, '192.0.2.1', port), messageId, fingerprint, state, expires);
      }
    }
    const check = () => {
      for (const { port, messageId, fingerprint } of requests) {
        const slot = deduplicator.find(peers.at(transport, '192.0.2.1', port), messageId, fingerprint, 20);
        expect(deduplicator.state(slot)).toBe(seen.pending);
      }
    };
    expect(deduplicator.size).toBe(20_000);
    check();
    deduplicator.sweep(20);
    expect(deduplicator.size).toBe(10_000);
    check();
    deduplicator.clear();
    expect([deduplicator.size, peers.size]).toEqual([0, 0]);
  });
});

describe('deadlines', () => {
  it('are never early, late by a bucket at most, and in order', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 5_000 }), { maxLength: 50 }), (dues) => {
        const deadlines = new Deadlines<number>(100);
        for (const [item, due] of dues.entries()) deadlines.set(item, due);
        const taken: number[] = [];
        for (let now = 0; now <= 5_100; now += 50) {
          for (const item of deadlines.takeDue(now)) {
            const due = dues[item] as number;
            expect(due).toBeLessThanOrEqual(now);
            expect(now - due).toBeLessThanOrEqual(150);
            taken.push(item);
          }
        }
        expect(taken.sort((a, b) => a - b)).toEqual([...dues.keys()]);
        expect(deadlines.size).toBe(0);
      }),
      { seed },
    );
  });

  it('move and go away', () => {
    const deadlines = new Deadlines<string>(100);
    deadlines.set('a', 100);
    deadlines.set('a', 500);
    deadlines.set('b', 100);
    deadlines.delete('b');
    expect(deadlines.takeDue(400)).toEqual([]);
    expect(deadlines.takeDue(500)).toEqual(['a']);
  });
});
