import { readdirSync, readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { join, relative } from 'node:path';
import { daemonPath, freePort } from './bench.js';
import { coapOnly } from './peers.js';

const most = 25;

/** The publish load on a daemon that samples itself: the functions with the most time of their own, as a table. */
export async function profile(bench) {
  const place = bench.place('profile');
  const port = await freePort();
  const flags = ['--cpu-prof', `--cpu-prof-dir=${place}`, '--cpu-prof-interval=250'];
  const daemon = await bench.daemon(coapOnly(port), { flags });
  const load = bench.generate('coap-load', { port, clients: 64, seconds: bench.pick(15, 4) });
  await load.ready;
  const begun = performance.now();
  const result = await load.figures;
  await bench.stop(daemon);
  const lastMs = performance.now() - begun;
  const file = readdirSync(place).find((name) => name.endsWith('.cpuprofile'));
  if (file === undefined) throw new Error(`no profile was written:\n${daemon.output}`);
  const functions = selfTimes(JSON.parse(readFileSync(join(place, file), 'utf8')), lastMs);
  const busy = functions.filter(({ name }) => name !== '(idle)');
  const total = busy.reduce((sum, { ms }) => sum + ms, 0);
  return [
    `${Math.round(result.rate)} publishes/s (sampled, so slower), ${(total / 1000).toFixed(1)} s of the main thread busy, its end included`,
    '  self      ms  function',
    ...busy
      .slice(0, most)
      .map(({ name, ms }) => `${((100 * ms) / total).toFixed(1).padStart(5)} %${ms.toFixed(0).padStart(8)}  ${name}`),
  ].join('\n');
}

/**
 * By function: `{ name, ms }`, most first; of the last `lastMs` of the profile. Names and places are those of the sources, as
 * far as the source map goes.
 */
function selfTimes({ nodes, samples, timeDeltas, startTime, endTime }, lastMs) {
  const sources = JSON.parse(readFileSync(`${daemonPath}.map`, 'utf8'));
  const map = new SourceMap(sources);
  const lines = new Map(sources.sources.map((source, at) => [source, sources.sourcesContent[at]?.split('\n')]));
  const byId = new Map(nodes.map((node) => [node.id, title(node.callFrame, map, lines)]));
  const times = new Map();
  let now = startTime;
  for (const [at, id] of samples.entries()) {
    now += timeDeltas[at];
    if (now < endTime - lastMs * 1000) continue;
    const name = byId.get(id);
    times.set(name, (times.get(name) ?? 0) + timeDeltas[at] / 1000);
  }
  return [...times].map(([name, ms]) => ({ name, ms })).sort((a, b) => b.ms - a.ms);
}

function title({ functionName, url, lineNumber, columnNumber }, map, lines) {
  const name = functionName === '' ? '(anonymous)' : functionName;
  if (url === '') return name;
  if (!url.endsWith(daemonPath))
    return `${name}  ${url.replace('file://', '').replace(/^.*\/node_modules\//, '')}:${lineNumber + 1}`;
  const entry = map.findEntry(lineNumber, columnNumber);
  if (entry.originalSource === undefined) return name;
  const source = relative(join(daemonPath, '..', '..'), join(daemonPath, '..', entry.originalSource));
  // the bundle's names are short ones: the source has the long one, before the parenthesis that the place is of
  const line = lines.get(entry.originalSource)?.[entry.originalLine] ?? '';
  const before = /[#\w$]+$/.exec(line.slice(0, entry.originalColumn))?.[0];
  const there = /^[#\w$]+/.exec(line.slice(entry.originalColumn))?.[0];
  return `${there ?? before ?? name}  ${source}:${entry.originalLine + 1}`;
}
