import { parse } from 'smol-toml';

/**
 * Where each key of a TOML text stands: dotted path (`upstream.0.queue.max_bytes`) to line, from 1. A scan, not a parser:
 * what it cannot tell (keys inside a value of several lines) has the line of the key around it.
 */
export function keyLines(text: string): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  const counts = new Map<string, number>();
  let table = '';
  let open = '';
  let ends: '"""' | "'''" | 'brackets' | undefined;
  for (const [at, line] of text.split('\n').entries()) {
    if (ends !== undefined) {
      open += `${line}\n`;
      if (ends === 'brackets' ? closed(open) : line.includes(ends)) ends = undefined;
      continue;
    }
    const header = /^\s*(\[\[?)([^[\]]+)\]\]?\s*(?:#.*)?$/.exec(line);
    if (header?.[2] !== undefined) {
      const name = resolve(dotted(header[2]), counts);
      if (header[1] === '[[') {
        const index = counts.get(name) ?? 0;
        counts.set(name, index + 1);
        table = `${name}.${index}`;
        if (!found.has(name)) found.set(name, at + 1);
      } else table = name;
      found.set(table, at + 1);
      continue;
    }
    const pair =
      /^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=\s*(.*)$/.exec(line);
    if (pair?.[1] === undefined || pair[2] === undefined) continue;
    const path = [...(table === '' ? [] : [table]), ...dotted(pair[1])].join('.');
    found.set(path, at + 1);
    const value = pair[2];
    const quotes = /^("""|''')/.exec(value)?.[1] as '"""' | "'''" | undefined;
    if (quotes !== undefined) {
      if (!value.slice(3).includes(quotes)) ends = quotes;
    } else if (/^[[{]/.test(value) && !closed(value)) ends = 'brackets';
    open = `${value}\n`;
  }
  return found;
}

/** The line of `path`, or of the nearest key around it. */
export function lineOf(lines: ReadonlyMap<string, number>, path: string): number | undefined {
  for (let at = path; at !== ''; at = at.slice(0, Math.max(0, at.lastIndexOf('.')))) {
    const line = lines.get(at);
    if (line !== undefined) return line;
  }
  return undefined;
}

function closed(value: string): boolean {
  try {
    parse(`v = ${value}`);
    return true;
  } catch {
    return false;
  }
}

function dotted(text: string): string[] {
  return [...text.matchAll(/"([^"]*)"|'([^']*)'|[^\s.]+/g)].map((part) => part[1] ?? part[2] ?? part[0]);
}

/** A header's path with the index of the latest element after each array of tables on the way. */
function resolve(parts: readonly string[], counts: ReadonlyMap<string, number>): string {
  let path = '';
  for (const [at, part] of parts.entries()) {
    path = path === '' ? part : `${path}.${part}`;
    const count = counts.get(path);
    if (count !== undefined && at < parts.length - 1) path = `${path}.${count - 1}`;
  }
  return path;
}
