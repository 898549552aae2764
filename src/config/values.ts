import * as v from 'valibot';
import { parseDuration, parseSize } from '../base/index.ts';
import { topicFilterProblem } from '../domain/index.ts';

/** The kinds of values that a key may have: each says what was expected, and never quotes what was given. */

/** What a timer of Node.js can wait, in milliseconds; rounded down to days. */
const longestTimer = 24 * 86_400_000;

function measure(parse: (text: string) => number | undefined, expected: string, min: number, max: number) {
  const message = `expected ${expected}`;
  return v.pipe(
    v.string(message),
    v.rawTransform(({ dataset, addIssue, NEVER }) => {
      const value = parse(dataset.value);
      if (value === undefined) addIssue({ message });
      else if (value < min) addIssue({ message: `${message}, not that small` });
      else if (value > max) addIssue({ message: `${message}, not that large` });
      else return value;
      return NEVER;
    }),
  );
}

/** Milliseconds. */
export const duration = (min = 0, max = longestTimer) => measure(parseDuration, 'a duration such as "30s"', min, max);
/** Bytes. */
export const size = (min = 0, max = Number.MAX_SAFE_INTEGER) => measure(parseSize, 'a size such as "64MiB"', min, max);

export function whole(min: number, max: number) {
  const message = `expected a whole number from ${min} to ${max}`;
  return v.pipe(v.number(message), v.integer(message), v.minValue(min, message), v.maxValue(max, message));
}

export function checked(what: string, problem: (text: string) => string | undefined) {
  return v.pipe(
    v.string(`expected ${what}`),
    v.rawCheck(({ dataset, addIssue }) => {
      const text = dataset.typed ? problem(dataset.value) : undefined;
      if (text !== undefined) addIssue({ message: `expected ${what}: ${text}` });
    }),
  );
}

export function oneOf<const Options extends readonly string[]>(options: Options) {
  return v.picklist(options, `expected ${options.map((option) => JSON.stringify(option)).join(' or ')}`);
}

export const list = <const Item extends v.GenericSchema>(item: Item) => v.array(item, 'expected a list [ … ]');
export const flag = () => v.boolean('expected true or false');
export const text = () => v.string('expected a string');
export const path = () => v.pipe(text(), v.minLength(1, 'expected a path'));
export const table = <const Entries extends v.ObjectEntries>(entries: Entries) => v.object(entries, 'expected a table');
export const filter = () => checked('a topic filter', topicFilterProblem);
export const qos = () => v.picklist([0, 1, 2], 'expected 0, 1 or 2');
export const prefix = () =>
  checked('a prefix without wildcards', (it) => (/[+#\0]/.test(it) ? 'contains one' : undefined));

export function timeZoneProblem(name: string): string | undefined {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return undefined;
  } catch {
    return 'unknown here';
  }
}
