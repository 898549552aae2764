import { stringify } from 'smol-toml';
import { formatDuration, formatSize } from '../base/index.ts';
import { camel } from './load.ts';
import { noteOf } from './notes.ts';
import type { Config } from './schema.ts';
import { isTree, rootNode, type SchemaNode, type Tree, unwrap } from './walk.ts';

const hidden = '********';

/** The effective configuration as TOML that could be read back, but for its secrets, which are hidden. */
export function printConfig(config: Config): string {
  return `${stringify(written(config, rootNode) as Tree).trimEnd()}\n`;
}

function written(value: unknown, node: SchemaNode): unknown {
  const { entries, item } = unwrap(node);
  if (Array.isArray(value) && item !== undefined) return value.map((one) => written(one, item));
  const note = noteOf(node);
  if (note?.secret === true) return hidden;
  if (typeof value === 'number' && note?.unit !== undefined) {
    return note.unit === 'duration' ? formatDuration(value) : formatSize(value);
  }
  if (!isTree(value) || entries === undefined) return value;
  const table: Tree = {};
  for (const [name, inner] of Object.entries(entries)) {
    const found = value[camel(name)];
    if (found !== undefined) table[name] = written(found, inner);
  }
  return table;
}

/** What an example shows for a key that has no default. */
const samples: Readonly<Record<string, unknown>> = {
  id: 'a0cta0',
  time_zone: 'Asia/Shanghai',
  ca_file: '/etc/holdfast/ca.pem',
  cert_file: '/etc/holdfast/cert.pem',
  key_file: '/etc/holdfast/key.pem',
  anonymous: true,
  max_age: '7d',
  max_messages: 1_000_000,
  name: 'cloud',
  urls: ['mqtts://broker.example.com:8883'],
  client_id: 'gw-7',
  username: 'gw-7',
  password: 'secret',
  password_file: '/etc/holdfast/cloud.password',
  status_topic: 'site7/gateway/status',
  effect: 'allow',
  topic: '#',
  direction: 'out',
  topics: [
    { topic: '#', direction: 'out', qos: 1, remote_prefix: 'site7/' },
    { topic: 'cmd/#', direction: 'in', qos: 1, remote_prefix: 'site7/' },
  ],
};

/** The sample file: every key with its sentence and its default. Loads as it is; upstreams are commented out. */
export function exampleConfig(): string {
  const lines = [
    '# Holdfast. A line that begins with "#" and a key shows a default or an example.',
    '# Durations: "250ms", "30s", "5m", "12h", "30d". Sizes: "512B", "64KiB", "256MiB".',
  ];
  describe(rootNode, '', lines);
  return `${lines.join('\n')}\n`;
}

function describe(table: SchemaNode, path: string, lines: string[]): void {
  const tables: (() => void)[] = [];
  for (const [name, node] of Object.entries(unwrap(table).entries ?? {})) {
    const inner = unwrap(node);
    const here = path === '' ? name : `${path}.${name}`;
    const doc = noteOf(node)?.doc ?? '';
    const list = inner.item === undefined ? undefined : unwrap(inner.item);
    if (inner.entries !== undefined) {
      tables.push(() => {
        lines.push('', `# ${doc}`, `${path.startsWith('upstream') ? '#' : ''}[${here}]`);
        describe(node, here, lines);
      });
    } else if (list?.entries !== undefined && name !== 'topics') {
      tables.push(() => {
        lines.push('', `# ${doc}`, `#[[${here}]]`);
        describe(list, here, lines);
      });
    } else {
      const value = node.default ?? samples[name];
      lines.push(`#${name} = ${inline(value)}`.padEnd(48).concat(` # ${doc}`));
    }
  }
  for (const one of tables) one();
}

function inline(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(inline).join(', ')}]`;
  if (!isTree(value)) return JSON.stringify(value);
  return `{ ${Object.entries(value)
    .map(([name, item]) => `${name} = ${inline(item)}`)
    .join(', ')} }`;
}
