import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { describe, expect, it } from 'vitest';

const src = join(import.meta.dirname, '../../src');

interface Import {
  readonly file: string;
  readonly from: string;
}

const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
  .sort();

const texts = new Map(files.map((file) => [file, readFileSync(join(src, file), 'utf8')]));

const imports: readonly Import[] = [...texts].flatMap(([file, text]) =>
  [
    ...text.matchAll(
      /(?:^|\n)\s*(?:import|export)\b[^;'"]*?\bfrom\s+['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]|(?:^|\n)import\s+['"]([^'"]+)['"]/g,
    ),
  ].map((found) => ({ file, from: found[1] ?? found[2] ?? found[3] ?? '' })),
);

/** The folder of a file of ours; `main` for the files at the top. */
function part(file: string): string {
  const [first, second] = file.split(sep);
  return second === undefined ? 'main' : (first ?? '');
}

/** The file that a relative import names, from `src`. */
const target = ({ file, from }: Import) => relative(src, resolve(src, dirname(file), from));
const ours = imports.filter(({ from }) => from.startsWith('.'));
const shown = (one: Import, reason: string) => `${one.file} imports ${one.from}: ${reason}`;

/** What each part may import, besides itself. Design §3: downwards only. */
const ground = ['base', 'domain', 'telemetry'];
const mayImport: Readonly<Record<string, { readonly parts: readonly string[]; readonly because: string }>> = {
  base: { parts: [], because: 'base is the ground and imports nothing of ours' },
  domain: { parts: ['base'], because: 'the words of the trade are pure' },
  telemetry: { parts: ['base', 'domain'], because: 'everything logs, so logging may know of nothing' },
  log: { parts: ground, because: 'what survives knows nothing of who writes it' },
  index: { parts: [...ground, 'log'], because: 'the index is derived from the log alone' },
  sessions: { parts: [...ground, 'log'], because: 'what survives knows nothing of who writes it' },
  connections: { parts: [...ground, 'log'], because: 'who is connected is the same for every protocol' },
  pipeline: {
    parts: [...ground, 'log', 'index', 'connections'],
    because: 'the edges call the pipeline, never the reverse',
  },
  coap: { parts: [...ground, 'log', 'index', 'connections', 'pipeline'], because: 'edges never import each other' },
  broker: {
    parts: [...ground, 'log', 'index', 'sessions', 'connections', 'pipeline'],
    because: 'edges never import each other',
  },
  upstream: { parts: [...ground, 'log', 'index', 'connections', 'pipeline'], because: 'edges never import each other' },
  rest: { parts: [...ground, 'log', 'index', 'connections', 'pipeline'], because: 'edges never import each other' },
  systemd: { parts: ground, because: 'the service manager is told by others what to be told' },
  config: { parts: ground, because: 'the configuration is data: parts get theirs handed in' },
  client: { parts: [...ground, 'coap'], because: 'who talks to a gateway from outside knows what goes over the wire' },
  cli: {
    parts: ['base', 'domain', 'config', 'client', 'gateway'],
    because: 'the command line gets the parts handed in',
  },
  gateway: {
    parts: [
      ...ground,
      'log',
      'index',
      'sessions',
      'connections',
      'pipeline',
      'coap',
      'broker',
      'upstream',
      'rest',
      'systemd',
      'config',
    ],
    because: 'the composition root knows everything but who starts it',
  },
};

/** Where a library is at home: nowhere else, so that it can be replaced there. */
const homes: Readonly<Record<string, readonly string[]>> = {
  'classic-level': ['log', 'index'],
  level: ['log', 'index'],
  aedes: ['broker'],
  'aedes-persistence': ['broker'],
  ws: ['broker'],
  // the one forwards for days over links that break; the other speaks to any gateway, for a minute, and has no queue
  mqtt: ['upstream', 'client'],
  yargs: ['cli'],
  pino: ['telemetry'],
  'pino-pretty': ['telemetry'],
  'smol-toml': ['config'],
  valibot: ['config'],
  'systemd-notify': ['systemd'],
  'node:dgram': ['coap'],
  // the broker answers the upgrade to a WebSocket
  'node:http': ['rest', 'broker'],
  'node:https': ['rest', 'broker'],
};
const developmentOnly = ['coap', 'coap-packet', 'mqtt-packet', 'fast-check', 'vitest', 'esbuild'];

describe('the parts', () => {
  it('are found', () => {
    expect(files.length).toBeGreaterThan(20);
    expect(ours.length).toBeGreaterThan(50);
  });

  it('have a rule each', () => {
    const unknown = new Set(files.map(part).filter((one) => one !== 'main' && mayImport[one] === undefined));
    expect([...unknown]).toEqual([]);
  });

  it('import downwards only', () => {
    const wrong = ours.flatMap((one) => {
      const [from, to] = [part(one.file), part(target(one))];
      const rule = mayImport[from];
      if (rule === undefined || from === to || rule.parts.includes(to)) return [];
      return [shown(one, rule.because)];
    });
    expect(wrong).toEqual([]);
  });

  it('import no other part but through its index.ts', () => {
    const wrong = ours.filter((one) => {
      const to = target(one);
      return part(one.file) !== part(to) && part(to) !== 'main' && to !== join(part(to), 'index.ts');
    });
    expect(wrong.map((one) => shown(one, 'its index.ts says what may be used'))).toEqual([]);
  });

  it('open their index.ts with their design, and export by name', () => {
    const wrong = files.filter((file) => {
      const text = texts.get(file) ?? '';
      return file === join(part(file), 'index.ts') && (!text.startsWith('/**') || /export\s+\*/.test(text));
    });
    expect(wrong).toEqual([]);
  });
});

describe('a library', () => {
  it('is used in its home alone', () => {
    const wrong = imports.flatMap((one) => {
      const home = homes[one.from.startsWith('node:') ? one.from : packageOf(one.from)];
      if (home === undefined || home.includes(part(one.file))) return [];
      return [shown(one, `at home in ${home.join(' and ')}`)];
    });
    expect(wrong).toEqual([]);
  });

  it('of the tests is not in the product', () => {
    const wrong = imports.filter(({ from }) => developmentOnly.includes(packageOf(from)));
    expect(wrong.map((one) => shown(one, 'development only'))).toEqual([]);
  });
});

describe('a source file', () => {
  it('has no time of its own: base/clock.ts is the only one', () => {
    const own = /\b(?:Date\.now|performance\.now|new Date\(\)|setTimeout|setInterval|setImmediate)\b|new Date\(\)/;
    const wrong = [...texts].filter(
      ([file, text]) => file !== join('base', 'clock.ts') && own.test(withoutComments(text)),
    );
    expect(wrong.map(([file]) => file)).toEqual([]);
  });

  it('does not end the process: what is to be stopped would not be; only the command line and main.ts do', () => {
    const wrong = [...texts].filter(
      ([file, text]) =>
        !['main', 'cli'].includes(part(file)) && /\bprocess\.(?:exit|abort)\(/.test(withoutComments(text)),
    );
    expect(wrong.map(([file]) => file)).toEqual([]);
  });

  it('leaves nothing to be done: what is not done is in the closing note, not in the code', () => {
    expect([...texts].filter(([, text]) => /\b(?:TODO|FIXME|XXX)\b/.test(text)).map(([file]) => file)).toEqual([]);
  });

  it('has 350 lines at most', () => {
    expect([...texts].filter(([, text]) => text.split('\n').length > 351).map(([file]) => file)).toEqual([]);
  });

  it('imports with the extension', () => {
    expect(ours.filter(({ from }) => !from.endsWith('.ts'))).toEqual([]);
  });
});

function packageOf(from: string): string {
  const [scope, name] = from.split('/');
  return scope?.startsWith('@') ? `${scope}/${name}` : (scope ?? '');
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1');
}
