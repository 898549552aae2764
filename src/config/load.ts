import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import * as v from 'valibot';
import { crossProblems, isKeyed, listenersOf } from './checks.ts';
import { configFile, Layers, type Problem } from './layers.ts';
import { type Config, schema } from './schema.ts';
import { isLoopback } from './urls.ts';
import { isTree, unknownKeys } from './walk.ts';

export interface LoadOptions {
  /** `--config`; else HOLDFAST_CONFIG, else /etc/holdfast/holdfast.toml if it is there. */
  readonly file?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `--set`, in order; the last one of a key holds. */
  readonly set: readonly string[];
  readonly cwd: string;
  /** For `holdfast user`: it is no problem that there are no users yet. */
  readonly usersToCome?: boolean;
}

export type LoadResult =
  | { readonly ok: true; readonly config: Config; readonly files: readonly string[] }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** Lays file, `conf.d`, environment and `--set` over the defaults. All problems at once; reads files, nothing else. */
export function loadConfig(options: LoadOptions): LoadResult {
  const layers = new Layers();
  const { file, required } = configFile(options.file, options.env, options.cwd);
  layers.addFiles(file, required);
  layers.addEnvironment(options.env);
  for (const setting of options.set) layers.addSet(setting);

  const problems = [...layers.problems];
  const unknown = [...unknownKeys(layers.tree)];
  for (const [key, text] of unknown) problems.push(layers.problem(key, text));
  const parsed = v.safeParse(schema, layers.tree);
  for (const issue of parsed.issues ?? []) {
    const key = v.getDotPath(issue) ?? '';
    const missing = issue.type === 'object' && issue.expected?.startsWith('"') === true;
    problems.push(layers.problem(key, missing ? 'is missing' : issue.message));
  }
  if (!parsed.success) return { ok: false, problems: sorted(problems) };

  const config = effective(camelised(parsed.output) as Omit<Config, 'auth'> & { auth: PartialAuth }, options.cwd);
  const stated = isTree(layers.tree.auth) && layers.tree.auth.anonymous !== undefined;
  const excused = stated || options.usersToCome === true || hasUsers(config.auth.usersFile);
  for (const { key, text } of crossProblems(config, excused)) problems.push(layers.problem(key, text));
  return problems.length > 0 ? { ok: false, problems: sorted(problems) } : { ok: true, config, files: layers.files };
}

type PartialAuth = Omit<Config['auth'], 'anonymous'> & { readonly anonymous?: boolean };

function effective(read: Omit<Config, 'auth'> & { auth: PartialAuth }, cwd: string): Config {
  const stateDir = resolve(cwd, read.stateDir);
  const usersFile = resolve(stateDir, read.auth.usersFile);
  const local = (['coap', 'mqtt', 'rest'] as const).every((section) =>
    listenersOf(read, section).every((url) => isLoopback(url) || isKeyed(url, read.coap)),
  );
  return {
    ...read,
    stateDir,
    auth: {
      ...read.auth,
      anonymous: read.auth.anonymous ?? (local && !hasUsers(usersFile)),
      usersFile,
      pskFile: resolve(stateDir, read.auth.pskFile),
    },
  };
}

/** Keys from snake_case to camelCase, all the way down. */
function camelised(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(camelised);
  if (!isTree(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [camel(name), camelised(item)]));
}

export function camel(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** Whether somebody could log in. A file that is there and cannot be read is the daemon's to complain of. */
function hasUsers(path: string): boolean {
  try {
    return /^\s*\[\s*users\s*\./m.test(readFileSync(path, 'utf8'));
  } catch (thrown) {
    return thrown instanceof Error && 'code' in thrown && thrown.code === 'EACCES';
  }
}

function sorted(problems: readonly Problem[]): readonly Problem[] {
  const place = (one: Problem) => one.line ?? Number.MAX_SAFE_INTEGER;
  return [...problems].sort((a, b) => (a.where === b.where ? place(a) - place(b) : 0));
}

/** One line for people: `file:line: key: text`. */
export function formatProblem({ where, line, key, text }: Problem): string {
  return `${where}${line === undefined ? '' : `:${line}`}: ${key === '' ? '' : `${key}: `}${text}`;
}
