import { readdirSync, readFileSync } from 'node:fs';

/** Resident memory of a process, bytes. */
export function resident(pid) {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
}

/** CPU that a process used, seconds, in steps of 10 ms. */
export function cpuSeconds(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/**
 * What the threads of a process have used and how often they were woken: CPU in nanoseconds (undefined where the kernel does
 * not tell), voluntary and involuntary context switches. For threads that live on between two readings.
 */
export function activity(pid) {
  let ns = 0;
  let switches = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    try {
      const text = readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8');
      for (const [, count] of text.matchAll(/^(?:non)?voluntary_ctxt_switches:\s+(\d+)$/gm)) switches += Number(count);
      ns += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
    } catch (error) {
      if (error.code !== 'ENOENT' && error.code !== 'ESRCH') throw error;
      ns = Number.NaN;
    }
  }
  return { ns: Number.isNaN(ns) ? undefined : ns, switches };
}

/** Bytes that a process sent to the storage layer (pages made dirty); undefined once it is gone. */
export function written(pid) {
  try {
    return Number(/^write_bytes: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1]);
  } catch {
    return undefined;
  }
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

/** `median (least to most)`; one value alone as it is. */
export function spread(values, digits = 2) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const middle = median(values).toFixed(digits);
  return values.length === 1 ? middle : `${middle} (${least.toFixed(digits)} to ${most.toFixed(digits)})`;
}

/**
 * A line of the table. `values`: a number, or one for each round, of which the median counts. `target`: such as `>= 2.2`.
 */
export function row(figure, values, { digits = 2, unit = '', target, note = '' } = {}) {
  const all = Array.isArray(values) ? values : [values];
  const got = median(all);
  const text = `${spread(all, digits)}${unit === '' ? '' : ` ${unit}`}${note === '' ? '' : `  ${note}`}`;
  return {
    figure,
    value: text,
    got,
    rounds: all,
    ...(target === undefined ? {} : { target, met: meets(got, target) }),
  };
}

export function meets(got, target) {
  const [operator, bound] = target.split(' ');
  const limit = Number(bound);
  if (operator === '>=') return got >= limit;
  if (operator === '<=') return got <= limit;
  return got < limit;
}

/** The ratios of each round: what ours gave to what the peer gave in the same minute. */
export const ratios = (ours, peer) => ours.map((value, round) => value / peer[round]);
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
