/**
 * The configuration: one schema that types, checks, samples and documentation come from.
 *
 * Defaults, then a TOML file, `conf.d/*.toml` beside it, `HOLDFAST_…` variables and `--set`, each over the one before.
 * Tables are merged key by key and lists replaced, but `[[upstream]]` in another file is one more upstream: a fragment
 * never takes one away. Loading collects every problem, with the place that the value came from; values are not quoted
 * in a problem, since one may be a secret. What is read is camelCase, in milliseconds and bytes, with absolute paths.
 */
export { defaultFile, type Problem } from './layers.ts';
export { formatProblem, type LoadOptions, type LoadResult, loadConfig } from './load.ts';
export { exampleConfig, printConfig } from './print.ts';
export { changedKeys } from './reload.ts';
export type { Config, UpstreamConfig } from './schema.ts';
export { gatewayUrlProblem } from './urls.ts';
