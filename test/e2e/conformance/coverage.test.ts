import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { sections, untested } from './statements.ts';

const files = [
  ...readdirSync(import.meta.dirname).map((name) => join(import.meta.dirname, name)),
  join(import.meta.dirname, '../listeners.test.ts'),
];

/** Ids in titles: `MQTT-3.1.0-1, 3.1.0-2 …`. */
function named(): Set<string> {
  const ids = new Set<string>();
  for (const file of files.filter((name) => name.endsWith('.test.ts'))) {
    for (const [title] of readFileSync(file, 'utf8').matchAll(/'MQTT-[^']*'/g)) {
      const list = /^'MQTT-([\d.-]+(?:, [\d.-]+)*)/.exec(title)?.[1];
      for (const id of list?.split(', ') ?? []) ids.add(id.replace('3-8.3', '3.8.3'));
    }
  }
  return ids;
}

const all = Object.entries(sections).flatMap(([section, count]) =>
  Array.from({ length: count }, (_, at) => `${section}-${at + 1}`),
);

describe('the statements of MQTT 3.1.1', () => {
  it('are each named by a test, or it says why not', () => {
    const ids = named();
    expect(all.filter((id) => !ids.has(id) && untested[id] === undefined)).toEqual([]);
  });

  it('are not named where there is no such statement, nor listed as untested where there is a test', () => {
    const ids = named();
    expect([...ids].filter((id) => !all.includes(id))).toEqual([]);
    expect(Object.keys(untested).filter((id) => ids.has(id) || !all.includes(id))).toEqual([]);
  });
});
