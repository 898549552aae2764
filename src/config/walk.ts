import { schema } from './schema.ts';

/** What the walks need of a valibot schema. */
export interface SchemaNode {
  readonly type: string;
  readonly entries?: Readonly<Record<string, SchemaNode>>;
  readonly item?: SchemaNode;
  readonly wrapped?: SchemaNode;
  readonly default?: unknown;
}

export type Tree = { [key: string]: unknown };

export const rootNode: SchemaNode = schema as unknown as SchemaNode;

export function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

/** The schema under `optional`. */
export function unwrap(node: SchemaNode): SchemaNode {
  return node.wrapped === undefined ? node : unwrap(node.wrapped);
}

/** The schema of the value at `path`, or undefined where there is no such key. */
export function nodeAt(path: readonly string[]): SchemaNode | undefined {
  let node: SchemaNode = rootNode;
  for (const part of path) {
    const inner = unwrap(node);
    const next = inner.type === 'array' && /^\d{1,4}$/.test(part) ? inner.item : own(inner.entries, part);
    if (next === undefined) return undefined;
    node = next;
  }
  return unwrap(node);
}

function own(entries: SchemaNode['entries'], name: string): SchemaNode | undefined {
  return entries !== undefined && Object.hasOwn(entries, name) ? entries[name] : undefined;
}

/** Keys of `value` that no schema has, with what was probably meant. */
export function* unknownKeys(value: unknown, node: SchemaNode = rootNode, path = ''): Generator<[string, string]> {
  const inner = unwrap(node);
  if (Array.isArray(value) && inner.item !== undefined) {
    for (const [at, item] of value.entries()) yield* unknownKeys(item, inner.item, `${path}.${at}`);
  }
  if (!isTree(value) || inner.entries === undefined) return;
  for (const [name, item] of Object.entries(value)) {
    const known = own(inner.entries, name);
    const at = path === '' ? name : `${path}.${name}`;
    if (known !== undefined) yield* unknownKeys(item, known, at);
    else yield [at, `unknown key${suggestion(name, Object.keys(inner.entries))}`];
  }
}

/** `, did you mean …?`, or what there is; names with a dash or capitals are understood as their snake_case. */
export function suggestion(name: string, known: readonly string[]): string {
  const snake = name
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .replaceAll('-', '_')
    .toLowerCase();
  const best = known
    .map((one) => ({ one, far: distance(snake, one) }))
    .sort((a, b) => a.far - b.far)
    .at(0);
  if (best !== undefined && best.far <= Math.max(1, best.one.length / 3)) return `; did you mean ${best.one}?`;
  return `; expected one of ${known.join(', ')}`;
}

function distance(a: string, b: string): number {
  const from = a.slice(0, 64);
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = from[i - 1] === b[j - 1] ? 0 : 1;
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + same));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
