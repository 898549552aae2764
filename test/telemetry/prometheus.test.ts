import { describe, expect, it } from 'vitest';
import { Metrics, prometheusText, registerProcessMetrics } from '../../src/telemetry/index.ts';
import { FakeClock } from '../support/fake-clock.ts';

describe('metrics as text', () => {
  it('have HELP and TYPE once per family, its series together, whatever came between', () => {
    const metrics = new Metrics();
    metrics.counter('holdfast_a_total', 'A.', { protocol: 'coap' }).add(3);
    metrics.gauge('holdfast_b', 'B.', () => 1.5);
    metrics.counter('holdfast_a_total', 'A.', { protocol: 'mqtt', kind: 'x' });
    expect(prometheusText(metrics.series())).toBe(
      [
        '# HELP holdfast_a_total A.',
        '# TYPE holdfast_a_total counter',
        'holdfast_a_total{protocol="coap"} 3',
        'holdfast_a_total{protocol="mqtt",kind="x"} 0',
        '# HELP holdfast_b B.',
        '# TYPE holdfast_b gauge',
        'holdfast_b 1.5',
        '',
      ].join('\n'),
    );
    expect(prometheusText([])).toBe('');
  });

  it('escape labels and help, and name what is no number', () => {
    const metrics = new Metrics();
    metrics.gauge('holdfast_a', 'one\\two\nthree', () => Number.POSITIVE_INFINITY, { name: 'a"b\\c\nd' });
    metrics.gauge('holdfast_b', 'B.', () => Number.NaN);
    const text = prometheusText(metrics.series());
    expect(text).toContain('# HELP holdfast_a one\\\\two\\nthree\n');
    expect(text).toContain('holdfast_a{name="a\\"b\\\\c\\nd"} +Inf\n');
    expect(text).toContain('holdfast_b NaN\n');
  });

  it('leave out a figure that cannot be read', () => {
    const metrics = new Metrics();
    metrics.gauge('holdfast_a', 'A.', () => {
      throw new Error('closed');
    });
    metrics.gauge('holdfast_b', 'B.', () => 2);
    expect(prometheusText(metrics.series())).toContain('holdfast_b 2');
  });
});

describe('the process’s figures', () => {
  it('are there, and plausible', () => {
    const metrics = new Metrics();
    const clock = new FakeClock();
    const end = registerProcessMetrics(metrics, clock);
    clock.advance(2_500);
    expect(metrics.value('holdfast_process_uptime_seconds')).toBe(2.5);
    expect(metrics.value('holdfast_process_resident_memory_bytes')).toBeGreaterThan(10_000_000);
    expect(metrics.value('holdfast_process_heap_used_bytes')).toBeGreaterThan(1_000_000);
    expect(metrics.value('holdfast_process_cpu_seconds')).toBeGreaterThan(0);
    for (const one of metrics.series()) expect(one.read(), one.name).toBeGreaterThanOrEqual(0);
    end();
  });
});
