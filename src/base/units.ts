/** Durations and sizes with units, as a configuration file has them. */

const durationUnits: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

const sizeUnits: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1_000,
  MB: 1_000_000,
  GB: 1_000_000_000,
  KiB: 1_024,
  MiB: 1_048_576,
  GiB: 1_073_741_824,
};

function parseUnits(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]+)$/.exec(text);
  const factor = match?.[2] === undefined ? undefined : units[match[2]];
  if (match?.[1] === undefined || factor === undefined) return undefined;
  const value = Number(match[1]) * factor;
  return Number.isSafeInteger(Math.round(value)) ? Math.round(value) : undefined;
}

/** Milliseconds of `"250ms"`, `"30s"`, `"5m"`, `"12h"`, `"30d"`; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  return parseUnits(text, durationUnits);
}

/** Bytes of `"512B"`, `"64KiB"`, `"1.5MiB"`, `"2GB"`; undefined for anything else. */
export function parseSize(text: string): number | undefined {
  return parseUnits(text, sizeUnits);
}

/** The shortest text that `parseDuration` reads back as `ms`. */
export function formatDuration(ms: number): string {
  for (const [unit, factor] of Object.entries(durationUnits).reverse()) {
    if (ms !== 0 && ms % factor === 0) return `${ms / factor}${unit}`;
  }
  return `${ms}ms`;
}

/** The shortest exact text that `parseSize` reads back as `bytes`, in binary units. */
export function formatSize(bytes: number): string {
  for (const unit of ['GiB', 'MiB', 'KiB']) {
    const factor = sizeUnits[unit] ?? 1;
    if (bytes !== 0 && bytes % factor === 0) return `${bytes / factor}${unit}`;
  }
  return `${bytes}B`;
}
