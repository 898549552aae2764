import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parse, TomlError } from 'smol-toml';
import { reasonOf } from '../base/index.ts';
import { keyLines, lineOf } from './lines.ts';
import { isTree, nodeAt, rootNode, suggestion, type Tree } from './walk.ts';

/** Something wrong with a configuration. `where`: a file, an environment variable, or `--set`. */
export interface Problem {
  readonly where: string;
  readonly line?: number;
  /** Dotted path as in TOML; empty where the whole is meant. */
  readonly key: string;
  readonly text: string;
}

interface Source {
  readonly where: string;
  readonly lines?: ReadonlyMap<string, number>;
}

export const defaultFile = '/etc/holdfast/holdfast.toml';

/** The tree that grows as layer is laid on layer, and what each value came from. */
export class Layers {
  readonly tree: Tree = Object.create(null) as Tree;
  readonly problems: Problem[] = [];
  readonly files: string[] = [];
  readonly #origins = new Map<string, { source: Source; local: string }>();

  /** Reads `file` (which must be there if `required`), then `conf.d/*.toml` beside it, by name. */
  addFiles(file: string, required: boolean): void {
    this.#addFile(file, required);
    const directory = join(dirname(file), 'conf.d');
    let names: string[] = [];
    try {
      names = readdirSync(directory).filter((name) => name.endsWith('.toml') && !name.startsWith('.'));
    } catch (thrown) {
      if (!absent(thrown)) this.problems.push({ where: directory, key: '', text: reasonOf(thrown) });
    }
    for (const name of names.sort()) this.#addFile(join(directory, name), true);
  }

  #addFile(file: string, required: boolean): void {
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (thrown) {
      if (required || !absent(thrown)) {
        this.problems.push({ where: file, key: '', text: `cannot be read: ${reasonOf(thrown)}` });
      }
      return;
    }
    this.files.push(file);
    try {
      const tree: Tree = parse(text.replace(/^\uFEFF/, ''));
      this.#merge(this.tree, tree, '', '', { where: file, lines: keyLines(text) }, true);
    } catch (thrown) {
      if (!(thrown instanceof TomlError)) throw thrown;
      // the rest of the message quotes the text, which may hold a secret
      const reason = thrown.message.split('\n')[0] ?? '';
      this.problems.push({ where: file, line: thrown.line, key: '', text: reason });
    }
  }

  /** `HOLDFAST_COAP__LISTEN` is `coap.listen`. What Kubernetes sets for a service named holdfast is passed over. */
  addEnvironment(env: Readonly<Record<string, string | undefined>>): void {
    for (const [name, value] of Object.entries(env).sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (!name.startsWith('HOLDFAST_') || name === 'HOLDFAST_CONFIG' || value === undefined) continue;
      if (/^HOLDFAST_(SERVICE_(HOST|PORT)|PORT$|PORT_\d)/.test(name)) continue;
      this.#addOne(name.slice('HOLDFAST_'.length).toLowerCase().split('__'), value, name);
    }
  }

  /** `key=value`, the key dotted; a number in it is the index in a list. */
  addSet(setting: string): void {
    const equals = setting.indexOf('=');
    const where = '--set';
    if (equals < 1) this.problems.push({ where, key: '', text: 'expected key=value' });
    else this.#addOne(setting.slice(0, equals).trim().split('.'), setting.slice(equals + 1), where);
  }

  #addOne(path: readonly string[], text: string, where: string): void {
    const key = path.join('.');
    const known = nodeAt(path);
    if (known === undefined) {
      const depth = path.findIndex((_, at) => nodeAt(path.slice(0, at + 1)) === undefined);
      const names = Object.keys(nodeAt(path.slice(0, depth))?.entries ?? rootNode.entries ?? {});
      this.problems.push({ where, key, text: `unknown key${suggestion(path[depth] ?? '', names)}` });
      return;
    }
    let target: unknown = this.tree;
    for (const [at, part] of path.slice(0, -1).entries()) {
      const list = nodeAt(path.slice(0, at + 1))?.type === 'array';
      if (isTree(target)) {
        if (!Object.hasOwn(target, part)) target[part] = list ? [] : Object.create(null);
        target = target[part];
      } else if (Array.isArray(target)) target = this.#element(target, part);
    }
    const last = path.at(-1) ?? '';
    const value = plain(settingOf(text, known.type === 'string'));
    if (isTree(target) && isTree(value) && isTree(target[last])) {
      this.#merge(target[last], value, key, key, { where }, false);
      return;
    }
    if (isTree(target)) target[last] = value;
    else if (Array.isArray(target) && Number(last) <= target.length) target[Number(last)] = value;
    else {
      this.problems.push({ where, key, text: 'no such element in the list' });
      return;
    }
    this.#from(key, key, { where });
  }

  #element(list: unknown[], part: string): unknown {
    if (Number(part) === list.length) list.push(Object.create(null));
    return list[Number(part)];
  }

  #merge(target: Tree, source: Tree, path: string, local: string, from: Source, append: boolean): void {
    for (const [name, value] of Object.entries(source)) {
      const at = path === '' ? name : `${path}.${name}`;
      const here = local === '' ? name : `${local}.${name}`;
      const there = target[name];
      if (isTree(value) && (there === undefined || isTree(there))) {
        const inner: Tree = there ?? (Object.create(null) as Tree);
        target[name] = inner;
        if (there === undefined) this.#from(at, here, from);
        this.#merge(inner, value, at, here, from, append);
      } else if (append && at === 'upstream' && Array.isArray(value) && Array.isArray(there)) {
        for (const [index, item] of value.entries()) {
          this.#from(`${at}.${there.length}`, `${here}.${index}`, from);
          there.push(plain(item));
        }
      } else {
        target[name] = plain(value);
        this.#from(at, here, from);
      }
    }
  }

  #from(path: string, local: string, source: Source): void {
    for (const one of [...this.#origins.keys()]) if (one.startsWith(`${path}.`)) this.#origins.delete(one);
    this.#origins.set(path, { source, local });
  }

  /** A problem with the value at `key`, at the place that it came from. */
  problem(key: string, text: string): Problem {
    for (let at = key; at !== ''; at = at.slice(0, Math.max(0, at.lastIndexOf('.')))) {
      const origin = this.#origins.get(at);
      if (origin === undefined) continue;
      const line = lineOf(origin.source.lines ?? new Map<string, number>(), origin.local + key.slice(at.length));
      return { where: origin.source.where, ...(line === undefined ? {} : { line }), key, text };
    }
    return { where: this.files[0] ?? 'defaults', key, text };
  }
}

/** A copy whose tables have no prototype, so that no key of a file means anything else than itself. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (!isTree(value)) return value;
  const copy = Object.create(null) as Tree;
  for (const [name, item] of Object.entries(value)) copy[name] = plain(item);
  return copy;
}

function settingOf(text: string, isText: boolean): unknown {
  try {
    const parsed = parse(`v = ${text}`);
    if (Object.keys(parsed).length !== 1 || (isText && typeof parsed.v !== 'string')) return text;
    return parsed.v;
  } catch {
    return text;
  }
}

function absent(thrown: unknown): boolean {
  return thrown instanceof Error && 'code' in thrown && (thrown.code === 'ENOENT' || thrown.code === 'ENOTDIR');
}

/** Which file is read: the one given, that of the environment, the usual one. */
export function configFile(given: string | undefined, env: Readonly<Record<string, string | undefined>>, cwd: string) {
  const named = given ?? (env.HOLDFAST_CONFIG || undefined);
  return { file: resolve(cwd, named ?? defaultFile), required: named !== undefined };
}
