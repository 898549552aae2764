import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bootOf,
  deviceIdOf,
  entriesMatching,
  filterCovers,
  filtersOverlap,
  formatMessageId,
  fullClientId,
  makeMessageId,
  maxBoot,
  maxPosition,
  parseMessageId,
  positionOf,
  TopicTree,
  topicFilterProblem,
  topicMatches,
  topicNameProblem,
} from '../../src/domain/index.ts';

const level = fc.constantFrom('a', 'b', '', '$x');
const topic = fc
  .array(level, { minLength: 1, maxLength: 4 })
  .map((levels) => levels.join('/'))
  .filter((text) => text !== '');
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { maxLength: 4 }), fc.boolean())
  .map(([levels, hash]) => [...levels, ...(hash ? ['#'] : [])].join('/'))
  .filter((text) => text !== '');

/** MQTT 3.1.1 §4.7 as a regular expression: slow and obviously right. */
function naive(pattern: string, name: string): boolean {
  if (name.startsWith('$') && /^[+#]/.test(pattern)) return false;
  if (pattern === '#') return true;
  const source = pattern
    .split('/')
    .map((one) => (one === '+' ? '[^/]*' : one === '#' ? '#' : one.replaceAll('$', '\\$')))
    .join('/')
    .replace(/\/#$/, '(/.*)?');
  return new RegExp(`^${source}$`).test(name);
}

describe('topics', () => {
  it('match as a naive matcher has it', () => {
    fc.assert(
      fc.property(filter, topic, (f, t) => {
        expect(topicMatches(f, t)).toBe(naive(f, t));
      }),
      { numRuns: 2_000 },
    );
  });

  it('are found in a tree as one by one, through additions and removals', () => {
    const operation = fc.tuple(fc.boolean(), filter, fc.nat(3));
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 30 }), fc.array(topic, { maxLength: 5 }), (operations, topics) => {
        const tree = new TopicTree<number>();
        const model = new Set<string>();
        for (const [add, f, value] of operations) {
          const key = `${value} ${f}`;
          if (add) tree.add(f, value);
          else expect(tree.delete(f, value)).toBe(model.has(key));
          if (add) model.add(key);
          else model.delete(key);
        }
        for (const t of topics) {
          const found: number[] = [];
          tree.match(t, (value) => found.push(value));
          const expected = [...model].filter((key) => naive(key.slice(2), t)).map((key) => Number(key[0]));
          expect(found.sort()).toEqual(expected.sort());
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it('of a covered filter are matched by the pattern; those of both overlap', () => {
    fc.assert(
      fc.property(filter, filter, topic, (a, b, t) => {
        if (filterCovers(a, b) && naive(b, t)) expect(naive(a, t)).toBe(true);
        if (naive(a, t) && naive(b, t)) expect(filtersOverlap(a, b)).toBe(true);
        expect(filtersOverlap(a, b)).toBe(filtersOverlap(b, a));
        expect(filterCovers(a, a)).toBe(true);
      }),
      { numRuns: 5_000 },
    );
  });

  it('are found in a map', () => {
    const topics = new Map([
      ['a/b', 1],
      ['a/c', 2],
      ['d', 3],
    ]);
    expect([...entriesMatching(topics, 'a/+')]).toEqual([
      ['a/b', 1],
      ['a/c', 2],
    ]);
    expect([...entriesMatching(topics, 'd')]).toEqual([['d', 3]]);
    expect([...entriesMatching(topics, 'e')]).toEqual([]);
  });

  it.each(['a', 'a/b', '/', 'a//b', '$SYS/x', 'ü', 'x'.repeat(65_535), '/'.repeat(99)])('%.20s is a name', (name) =>
    expect(topicNameProblem(name)).toBeUndefined(),
  );

  it.each(['', 'a/+', '#', 'a\0', '\ud800', 'x'.repeat(65_536), 'ü'.repeat(32_768), '/'.repeat(100)])(
    '%.20s is no name',
    (name) => expect(topicNameProblem(name)).toBeTypeOf('string'),
  );

  it.each(['#', '+', 'a/#', '+/a/+', '/#', '+/+/#', 'a'])('%s is a filter', (name) =>
    expect(topicFilterProblem(name)).toBeUndefined(),
  );

  it.each(['', 'a#', '#/a', 'a/#/b', 'a+', '+a', 'a/b+/c', '##', '++'])('%j is no filter', (name) =>
    expect(topicFilterProblem(name)).toBeTypeOf('string'),
  );
});

describe('message ids', () => {
  it('hold boot and position, and sort as they rise', () => {
    const part = fc.tuple(fc.integer({ min: 1, max: maxBoot }), fc.integer({ min: 0, max: maxPosition }));
    fc.assert(
      fc.property(part, part, (a, b) => {
        const [first, second] = [makeMessageId(...a), makeMessageId(...b)];
        expect([bootOf(first), positionOf(first)]).toEqual(a);
        expect(parseMessageId(formatMessageId(first))).toBe(first);
        expect(formatMessageId(first) < formatMessageId(second)).toBe(first < second);
      }),
    );
    expect(formatMessageId(makeMessageId(1, 255))).toBe('00000100000000FF');
  });

  it.each(['', '1', '00000100000000ff', '00000100000000FF0', 'G0000100000000FF'])('%j is none', (text) =>
    expect(parseMessageId(text)).toBeUndefined(),
  );
});

describe('client ids', () => {
  it('are completed with the AppID, and taken apart', () => {
    expect(fullClientId('dev', 'app')).toBe('dev@app');
    expect(fullClientId('dev@app', 'app')).toBe('dev@app');
    expect(deviceIdOf('dev@app')).toBe('dev');
    expect(deviceIdOf('dev')).toBe('dev');
  });

  it.each(['', '@app', 'a@b', 'a@app@app', 'a\0', 'a\n', '\ud800', 'x'.repeat(61)])('%j is none', (given) => {
    expect(() => fullClientId(given, 'app')).toThrow(expect.objectContaining({ code: 'invalid_client_id' }));
  });
});
