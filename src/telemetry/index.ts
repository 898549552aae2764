/**
 * What the gateway says of itself: log lines, figures, health conditions.
 *
 * A condition is declared as data by the part that can tell, raised and cleared by it, and shown by whoever is asked
 * (`status`, `/readyz`). A figure is a counter that its owner adds to, or a gauge that is read when asked for; all of them
 * are told in Prometheus's text format.
 */
export { type ActiveCondition, type Condition, Health } from './health.ts';
export { type Logger, silentLogger } from './logger.ts';
export { Counter, type Labels, Metrics, type Series } from './metrics.ts';
export { createLogger, type LoggerOptions, type LogLevel, type LogStream, type RootLogger } from './pino-logger.ts';
export { registerProcessMetrics } from './process-metrics.ts';
export { prometheusText, prometheusType } from './prometheus.ts';
