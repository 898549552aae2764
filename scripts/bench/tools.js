import { execFileSync, spawnSync } from 'node:child_process';
import { accessSync, constants, mkdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';

const native = join(import.meta.dirname, 'native');

/** Where a program is, or undefined. The places of an administrator's programs are looked at too. */
export function find(program) {
  const places = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin', '/sbin'];
  for (const place of places) {
    try {
      accessSync(join(place, program), constants.X_OK);
      return join(place, program);
    } catch {}
  }
  return undefined;
}

const wanted = [
  { program: 'cc', package: 'gcc libc6-dev' },
  { program: 'coap-server-notls', package: 'libcoap3-bin' },
  { program: 'mosquitto', package: 'mosquitto' },
];

/**
 * The peers that are programs of Debian's, installed where that is missing, asked for and possible; `missing` says what the
 * table is without. Ends the process where there is no compiler: nothing can be measured without the generators.
 */
export function findPeers({ install }) {
  const absent = wanted.filter(({ program }) => find(program) === undefined);
  if (install && absent.length > 0 && process.getuid?.() === 0 && find('apt-get') !== undefined) {
    const packages = absent.flatMap((one) => one.package.split(' '));
    console.log(`installing ${packages.join(' ')}`);
    const apt = (...args) =>
      spawnSync('apt-get', args, {
        stdio: ['ignore', 'ignore', 'inherit'],
        env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
        timeout: 300_000,
      }).status === 0;
    const get = () => apt('install', '-y', '-qq', '--no-install-recommends', ...packages);
    // the lists of packages may be there and recent enough
    if (!get() && apt('update', '-qq')) get();
  }
  const missing = wanted.filter(({ program }) => find(program) === undefined);
  if (missing.some(({ program }) => program === 'cc')) {
    console.error('The generators of the load are C and there is no compiler: as root, apt-get install gcc libc6-dev');
    process.exit(1);
  }
  return {
    libcoap: find('coap-server-notls'),
    mosquitto: find('mosquitto'),
    missing: missing.map((one) => `${one.program} (apt-get install ${one.package})`),
  };
}

/** Compiles the generators into `directory`; their paths by name. */
export function compile(directory) {
  mkdirSync(directory, { recursive: true });
  const tools = {};
  for (const name of ['coap-load', 'coap-reflect', 'mqtt-load', 'hold', 'duty', 'slow-sync']) {
    const library = name === 'slow-sync';
    tools[name] = join(directory, library ? `${name}.so` : name);
    const how = library ? ['-shared', '-fPIC'] : [];
    execFileSync('cc', ['-O2', ...how, '-o', tools[name], join(native, `${name}.c`), ...(library ? ['-ldl'] : [])], {
      stdio: ['ignore', 'inherit', 'inherit'],
      timeout: 60_000,
    });
  }
  return tools;
}
