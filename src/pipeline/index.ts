/**
 * The pipeline: admit → log → route. Every message takes it, whichever door it came in by.
 *
 * Admit: topic, size, `$SYS`, access rules, bounds; what is refused costs nothing else and reaches nobody. Log: the message
 * gets its id and waits for the disk; the publisher's acknowledgement follows the fsync. Route: local subscribers get it in
 * the same turn, in the order of ids; they do not wait for the disk. Upstreams read the log by themselves.
 *
 * A retained message is written under its topic in the same commit as its record, and held in memory for those who
 * subscribe or ask. An empty payload clears it.
 */
export { type Accepted, Pipeline, type PipelineLog, type PipelineOptions, type Subscriber } from './pipeline.ts';
export type { RetainedBounds } from './retained.ts';
