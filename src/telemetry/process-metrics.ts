import type { Clock } from '../base/index.ts';
import { LoopDelay } from './loop-delay.ts';
import type { Metrics } from './metrics.ts';

/**
 * Registers the process's own figures: memory, CPU time, uptime, and how late the event loop ran its timers since it was
 * last asked. Returns what ends the sampling.
 */
export function registerProcessMetrics(metrics: Metrics, clock: Clock): () => void {
  const begun = clock.monotonic();
  const delay = new LoopDelay(clock);
  delay.start();
  const memory = (name: string, help: string, kind: 'rss' | 'heapUsed' | 'heapTotal' | 'external') =>
    metrics.gauge(`holdfast_process_${name}_bytes`, help, () => process.memoryUsage()[kind]);
  metrics.gauge('holdfast_process_resident_memory_bytes', 'Resident memory.', () => process.memoryUsage.rss());
  memory('heap_used', 'JavaScript heap in use.', 'heapUsed');
  memory('heap_size', 'JavaScript heap.', 'heapTotal');
  memory('external', 'Memory of buffers and native objects.', 'external');
  metrics.gauge('holdfast_process_cpu_seconds', 'CPU time since start, user and system.', () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  metrics.gauge(
    'holdfast_process_uptime_seconds',
    'Seconds since start.',
    () => Math.round(clock.monotonic() - begun) / 1_000,
  );
  let worst = 0;
  metrics.gauge(
    'holdfast_event_loop_delay_seconds',
    'Mean delay of the event loop since it was last asked for.',
    () => {
      const { mean, longest } = delay.take();
      worst = seconds(longest);
      return seconds(mean);
    },
  );
  metrics.gauge(
    'holdfast_event_loop_delay_max_seconds',
    'Longest delay of the event loop since it was last asked for.',
    () => worst,
  );
  return () => delay.stop();
}

/** Milliseconds to seconds, whole microseconds. */
function seconds(milliseconds: number): number {
  return Math.round(milliseconds * 1e3) / 1e6;
}
