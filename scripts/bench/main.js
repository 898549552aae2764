/**
 * `npm run bench`: every figure beside floors and peers that run in the same minute on the same machine, in turn; ratios by
 * round, medians and spread. A table on the terminal, and JSON in `.bench/results.json`.
 *
 * The peers are Debian's `coap-server-notls` (libcoap3-bin) and `mosquitto`, the `coap` package's server, a bare node:dgram
 * echo and a bare mqtt.js loop; those that are missing are installed (as root, unless --no-install) or named. The load comes
 * from C programs that are compiled at each start (`native/`).
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Bench, daemonPath } from './bench.js';
import { profile } from './profile.js';
import { scenarios } from './scenarios/index.js';
import { compile, findPeers } from './tools.js';

const usage = `npm run bench -- [options]
  --only NAME[,NAME]    these scenarios alone
  --quick               shorter times, fewer rounds, smaller numbers: a look, not a measurement
  --pin                 the generator on core 0, what is measured on core 1; otherwise the kernel places them
  --soak-minutes N      how long "soak" loads the daemon (60)
  --profile publish     the daemon's functions that take the most time of their own under that load, instead of the table
  --no-install          does not install peers that are missing
  --list                the scenarios`;

const options = read();
if (options.help) {
  console.log(usage);
  process.exit(0);
}
if (options.list) {
  for (const [name, { about, minutes }] of Object.entries(scenarios))
    console.log(`${name.padEnd(11)} ${`${minutes} min`.padStart(6)}  ${about}`);
  process.exit(0);
}
const chosen = options.only?.split(',') ?? Object.keys(scenarios);
const unknown = chosen.filter((name) => !Object.hasOwn(scenarios, name));
if (unknown.length > 0) wrong(`no scenario ${unknown.join(', ')}; there are ${Object.keys(scenarios).join(', ')}`);
if (options.profile !== undefined && options.profile !== 'publish') wrong('--profile takes publish');
if (options.pin && cpus().length < 2) wrong('--pin needs two cores');
if (!(Number(options['soak-minutes']) > 0)) wrong('--soak-minutes takes minutes');
if (!existsSync(daemonPath)) wrong('dist/holdfast.js is missing: run `npm run build`', 1);

const built = statSync(daemonPath).mtimeMs;
const source = join(import.meta.dirname, '../../src');
if (readdirSync(source, { recursive: true }).some((file) => statSync(join(source, file)).mtimeMs > built))
  console.log('dist/holdfast.js is older than src: `npm run build` makes what is measured\n');

const peers = findPeers({ install: !options['no-install'] });
const directory = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
const bench = new Bench({
  directory,
  tools: compile(join(directory, 'tools')),
  peers,
  quick: options.quick,
  pin: options.pin,
  soakMinutes: Number(options['soak-minutes']),
});
const ending = async () => {
  await bench.stopAll();
  rmSync(directory, { recursive: true, force: true });
  process.exit(130);
};
process.once('SIGINT', ending);
process.once('SIGTERM', ending);

const machine = describe();
const results = { ...machine, rows: [], saturated: [] };
try {
  for (const [key, value] of Object.entries(machine)) if (value !== '') console.log(`${key.padEnd(9)} ${value}`);
  if (options.profile !== undefined) console.log(`\n${await profile(bench)}`);
  else for (const name of Object.keys(scenarios)) if (chosen.includes(name)) await run(name);
} finally {
  await bench.stopAll();
  rmSync(directory, { recursive: true, force: true });
}
if (options.profile === undefined) {
  mkdirSync('.bench', { recursive: true });
  writeFileSync('.bench/results.json', `${JSON.stringify(results, null, 2)}\n`);
  const missed = results.rows.filter(({ met }) => met === false);
  console.log(
    `\n${missed.length} of ${results.rows.filter(({ target }) => target !== undefined).length} targets missed`,
  );
  for (const { scenario, figure, value, target } of missed)
    console.log(`  ${scenario}: ${figure}: ${value}, not ${target}`);
  console.log('written to .bench/results.json');
}
process.exit(results.rows.some(({ failed }) => failed) ? 1 : 0);

/** One that fails does not end the others. */
async function run(name) {
  console.log(`\n${name}: ${scenarios[name].about}`);
  const begun = performance.now();
  try {
    for (const one of await scenarios[name].run(bench)) {
      results.rows.push({ scenario: name, ...one });
      const verdict = one.target === undefined ? '' : `   ${one.met ? 'met' : 'MISSED'} (${one.target})`;
      console.log(`  ${one.figure.padEnd(66)} ${one.value}${verdict}`);
    }
  } catch (error) {
    results.rows.push({ scenario: name, figure: 'failed', value: error.message, failed: true });
    console.log(`  FAILED: ${error.stack}`);
  }
  await bench.stopAll();
  for (const one of bench.saturated.splice(0)) {
    results.saturated.push({ scenario: name, run: one });
    console.log(`  the generator was near its ceiling: ${one}`);
  }
  console.log(`  (${((performance.now() - begun) / 1000).toFixed(0)} s)`);
}

function read() {
  try {
    return parseArgs({
      options: {
        only: { type: 'string' },
        quick: { type: 'boolean', default: false },
        pin: { type: 'boolean', default: false },
        list: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
        profile: { type: 'string' },
        'no-install': { type: 'boolean', default: false },
        'soak-minutes': { type: 'string', default: '60' },
      },
    }).values;
  } catch (error) {
    return wrong(error.message);
  }
}

function wrong(message, code = 2) {
  console.error(code === 2 ? `${message}\n${usage}` : message);
  return process.exit(code);
}

function describe() {
  const said = (command, args, pattern) => {
    try {
      return (
        pattern.exec(execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }))?.[0] ?? ''
      );
    } catch (error) {
      return pattern.exec(`${error.stdout ?? ''}${error.stderr ?? ''}`)?.[0] ?? '';
    }
  };
  return {
    machine: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown processor'}, ${(totalmem() / 2 ** 30).toFixed(1)} GiB, Linux ${release()}, load ${loadavg()[0].toFixed(1)}`,
    versions: [
      `node ${process.version}`,
      peers.mosquitto === undefined ? '' : said(peers.mosquitto, ['-h'], /mosquitto version \S+/),
      peers.libcoap === undefined ? '' : said(peers.libcoap, ['-h'], /coap-server-notls v\S+/),
      `cc ${said('cc', ['-dumpversion'], /\S+/)}`,
    ]
      .filter((one) => one !== '')
      .join(', '),
    commit: `${said('git', ['rev-parse', '--short', 'HEAD'], /^[0-9a-f]+/)}${said('git', ['status', '--porcelain'], /^[ MADRCU?!]{2} /) === '' ? '' : ' and changes'}`,
    cores: options.pin ? 'generator on core 0, what is measured on core 1' : 'not pinned',
    times: options.quick ? 'quick: a look, not a measurement' : 'full',
    missing: peers.missing.join('; '),
  };
}
