/**
 * `npm run bench`: every figure as a ratio against floors and peers that run in the same minute on the same machine,
 * alternated, medians and spread. A table on the terminal, and JSON in `.bench/results.json`.
 *
 * Options: `--only NAME` one scenario; `--quick` shorter and fewer rounds.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { drain } from './drain.js';
import { memory } from './memory.js';
import { publish } from './publish.js';
import { queries } from './queries.js';
import { startup } from './startup.js';
import { wear } from './wear.js';

const scenarios = { publish, drain, queries, memory, startup, wear };
const quick = process.argv.includes('--quick');
const only = process.argv.includes('--only') ? process.argv[process.argv.indexOf('--only') + 1] : undefined;
if (only !== undefined && !Object.hasOwn(scenarios, only)) {
  console.error(`no scenario ${only}; there are ${Object.keys(scenarios).join(', ')}`);
  process.exit(2);
}

const directory = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
const rows = [];
console.log(`node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown processor'}\n`);
try {
  for (const [name, scenario] of Object.entries(scenarios)) {
    if (only !== undefined && only !== name) continue;
    for (const row of await scenario({ directory, quick })) {
      rows.push({ scenario: name, ...row });
      const target = row.target === undefined ? '' : `   target ${row.target}`;
      console.log(`${name.padEnd(9)} ${row.figure.padEnd(58)} ${row.value}${target}`);
    }
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}
mkdirSync('.bench', { recursive: true });
writeFileSync('.bench/results.json', `${JSON.stringify({ node: process.version, rows }, null, 2)}\n`);
console.log('\nwritten to .bench/results.json');
