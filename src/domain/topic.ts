/** MQTT topic names and filters, MQTT 3.1.1 §4.7. */

const maxTopicBytes = 65_535;
/** Levels beyond this are refused everywhere: no matcher has to recurse deeper. */
export const maxTopicLevels = 100;

function levelsOf(text: string): number {
  let levels = 1;
  for (let at = text.indexOf('/'); at !== -1; at = text.indexOf('/', at + 1)) levels += 1;
  return levels;
}

function textProblem(text: string): string | undefined {
  if (text.length === 0) return 'empty';
  if (text.length > maxTopicBytes / 3 && Buffer.byteLength(text) > maxTopicBytes) return 'longer than 65535 bytes';
  if (text.includes('\u0000')) return 'contains a NUL';
  if (!text.isWellFormed()) return 'not valid UTF-8';
  if (levelsOf(text) > maxTopicLevels) return `more than ${maxTopicLevels} levels`;
  return undefined;
}

/** What is wrong with `text` as a topic to publish to, or undefined where nothing is. */
export function topicNameProblem(text: string): string | undefined {
  if (text.includes('+') || text.includes('#')) return 'contains a wildcard';
  return textProblem(text);
}

/** What is wrong with `text` as a filter to subscribe to, or undefined where nothing is. */
export function topicFilterProblem(text: string): string | undefined {
  const problem = textProblem(text);
  if (problem !== undefined) return problem;
  const hash = text.indexOf('#');
  if (hash !== -1 && (hash !== text.length - 1 || (hash > 0 && text[hash - 1] !== '/'))) {
    return '# stands anywhere but alone in the last level';
  }
  for (let at = text.indexOf('+'); at !== -1; at = text.indexOf('+', at + 1)) {
    if ((at > 0 && text[at - 1] !== '/') || (at < text.length - 1 && text[at + 1] !== '/')) {
      return '+ stands beside other characters in its level';
    }
  }
  return undefined;
}

/** Whether `filter` (valid) matches `topic` (valid). Wildcards in the first level do not match `$` topics. */
export function topicMatches(filter: string, topic: string): boolean {
  if (filter === topic) return true;
  if (topic[0] === '$' && (filter[0] === '+' || filter[0] === '#')) return false;
  let f = 0;
  let t = 0;
  for (;;) {
    if (filter[f] === '#') return true;
    const fEnd = endOfLevel(filter, f);
    const tEnd = endOfLevel(topic, t);
    const plus = fEnd === f + 1 && filter[f] === '+';
    if (!plus && filter.slice(f, fEnd) !== topic.slice(t, tEnd)) return false;
    if (fEnd === filter.length) return tEnd === topic.length;
    if (tEnd === topic.length) return filter.length === fEnd + 2 && filter[fEnd + 1] === '#';
    f = fEnd + 1;
    t = tEnd + 1;
  }
}

function endOfLevel(text: string, from: number): number {
  const at = text.indexOf('/', from);
  return at === -1 ? text.length : at;
}

/** Whether every topic that `filter` matches is matched by `pattern` too (both valid filters). */
export function filterCovers(pattern: string, filter: string): boolean {
  const wide = pattern.split('/');
  const narrow = filter.split('/');
  if ((filter[0] === '$') !== (pattern[0] === '$') && /^[+#]/.test(pattern)) return false;
  for (let at = 0; ; at++) {
    const w = wide[at];
    const n = narrow[at];
    if (w === '#') return true;
    if (w === undefined || n === undefined) return w === n;
    if (n === '#') return false;
    if (w !== '+' && w !== n) return false;
  }
}

/** Whether some topic is matched by both filters. */
export function filtersOverlap(a: string, b: string): boolean {
  if (a[0] === '$' && /^[+#]/.test(b)) return false;
  if (b[0] === '$' && /^[+#]/.test(a)) return false;
  const left = a.split('/');
  const right = b.split('/');
  for (let at = 0; ; at++) {
    const l = left[at];
    const r = right[at];
    if (l === '#' || r === '#') return true;
    if (l === undefined || r === undefined) return l === r;
    if (l !== '+' && r !== '+' && l !== r) return false;
  }
}
