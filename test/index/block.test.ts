import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isBodyOf, packBlock, readHeader, unpackBody } from '../../src/index/block.ts';
import { strides } from '../../src/index/posting.ts';

const time = fc.oneof(
  fc.integer({ min: 0, max: 2 ** 45 }),
  fc.integer({ min: 1_767_225_600_000, max: 1_767_225_700_000 }),
);
const position = fc.oneof(fc.integer({ min: 0, max: 50_000 }), fc.integer({ min: -2047 * 2 ** 40, max: 2 ** 40 }));

const lists = {
  client: fc.tuple(time, position, fc.integer({ min: 0, max: 5 })),
  connection: fc.tuple(
    time,
    fc.integer({ min: 0, max: 2 ** 40 }),
    fc.integer({ min: 0, max: 2 }),
    fc.integer({ min: 0, max: 2 ** 50 }),
    fc.nat(5_000),
  ),
  topic: fc.tuple(time, position),
} as const;

describe('a block', () => {
  it.each(['client', 'connection', 'topic'] as const)('gives back what was packed (%s)', (kind) => {
    fc.assert(
      fc.property(
        fc.array<readonly number[]>(lists[kind], { minLength: 1, maxLength: 512 }),
        fc.integer({ min: 1, max: 2 ** 24 - 1 }),
        fc.boolean(),
        (postings, boot, synced) => {
          const list = postings.flat();
          const { row, body } = packBlock(kind, boot, synced, list);
          const header = readHeader(row);
          if (header === undefined) throw new Error('the row does not read');
          const times = postings.map(([one = 0]) => one);
          const positions = postings.map(([, one = 0]) => one);
          expect(header).toMatchObject({
            boot,
            synced,
            count: list.length / strides[kind],
            minTime: Math.min(...times),
            maxTime: Math.max(...times),
            low: Math.min(...positions),
            high: Math.max(...positions),
          });
          const stored = Buffer.isBuffer(header.body) ? header.body : (body ?? Buffer.alloc(0));
          expect(isBodyOf(header, stored)).toBe(true);
          expect(unpackBody(kind, header, stored)).toEqual(list);
        },
      ),
    );
  });

  it('shows that any bit of it is wrong', () => {
    const list = Array.from({ length: 400 }, (_, n) => (n % 2 === 0 ? 1_000 + 977 * n : 3 * n));
    const { row, body = Buffer.alloc(0) } = packBlock('topic', 3, true, list);
    const header = readHeader(row);
    if (header === undefined) throw new Error('the row does not read');
    for (let bit = 0; bit < row.length * 8; bit++) expect(readHeader(flipped(row, bit))).toBeUndefined();
    for (let bit = 0; bit < body.length * 8; bit += 7) expect(isBodyOf(header, flipped(body, bit))).toBe(false);
  });

  it('of one posting takes little more than that', () => {
    expect(packBlock('client', 7, true, [1_767_225_600_000, 1_000_000, 0]).row.length).toBeLessThanOrEqual(24);
  });
});

function flipped(bytes: Buffer, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return copy;
}
