import type { Series } from './metrics.ts';

/** The content type of what `prometheusText` gives. */
export const prometheusType = 'text/plain; version=0.0.4; charset=utf-8';

/**
 * Series in the text format 0.0.4: HELP and TYPE once per family, in the order of its first mention. A figure that cannot
 * be read is left out: the others are still told.
 */
export function prometheusText(series: Iterable<Series>): string {
  const families = new Map<string, Series[]>();
  for (const one of series) {
    const family = families.get(one.name);
    if (family === undefined) families.set(one.name, [one]);
    else family.push(one);
  }
  const lines: string[] = [];
  for (const [name, members] of families) {
    const [first] = members;
    if (first === undefined) continue;
    lines.push(`# HELP ${name} ${helpText(first.help)}`, `# TYPE ${name} ${first.type}`);
    for (const one of members) {
      const value = figureOf(one);
      if (value !== undefined) lines.push(`${name}${labelText(one)} ${value}`);
    }
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

function figureOf(series: Series): string | undefined {
  let value: number;
  try {
    value = series.read();
  } catch {
    return undefined;
  }
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  if (value === Number.NEGATIVE_INFINITY) return '-Inf';
  return String(value);
}

function labelText({ labels }: Series): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${labelValue(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function helpText(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}

function labelValue(text: string): string {
  return helpText(text).replaceAll('"', '\\"');
}
