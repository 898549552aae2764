/**
 * The composition root: constructs all parts, starts them in order, stops them in reverse. Nothing imports it but the
 * command line.
 *
 * Order: log, queues, pipeline, connections, upstreams, broker, CoAP, control socket. So nothing comes in before there is a
 * place for it, and on the way down the doors close first and the log last. `run.ts` has the process's side of it:
 * signals, systemd, the exit code. `identity.json` says who the gateway is; `control.sock` answers `holdfast status`.
 */
export { askDaemon, type ControlRequest } from './control.ts';
export { Gateway, type GatewayDeps } from './gateway.ts';
export { type Identity, loadIdentity } from './identity.ts';
export { stateFile } from './options.ts';
export { run } from './run.ts';
export type { StatusReport } from './status.ts';
