import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const period = 10_000;

/**
 * A share of one core for programs that are started with `env`: by a control group (version 1 or 2) where this process may
 * make one, else by stopping and continuing the program, `apply(pid)`. `remove` when they have ended.
 */
export function throttle(bench, share) {
  const name = `holdfast-bench-${process.pid}-${Math.floor(Math.random() * 1e9)}`;
  for (const [directory, limit] of [
    [join('/sys/fs/cgroup/cpu', name), (place) => quota(place, share)],
    [join('/sys/fs/cgroup', name), (place) => writeFileSync(join(place, 'cpu.max'), `${period * share} ${period}`)],
  ]) {
    try {
      mkdirSync(directory);
    } catch {
      continue;
    }
    try {
      limit(directory);
      return {
        how: `control group, ${(period * share) / 1000} ms of each ${period / 1000} ms`,
        start: '',
        env: { HOLD_CGROUP: join(directory, 'cgroup.procs') },
        apply: () => undefined,
        remove: () => rmdirSync(directory),
      };
    } catch {
      rmdirSync(directory);
    }
  }
  return {
    how: `SIGSTOP and SIGCONT, on for ${(period * share) / 1000} ms of each ${period / 1000} ms`,
    start: 'held from then on only',
    env: {},
    apply: (pid) => bench.start(bench.tools.duty, [pid, share, period]),
    remove: () => undefined,
  };
}

function quota(place, share) {
  writeFileSync(join(place, 'cpu.cfs_period_us'), String(period));
  writeFileSync(join(place, 'cpu.cfs_quota_us'), String(period * share));
}
