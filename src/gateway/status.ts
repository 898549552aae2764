import type { Figure } from '../broker/index.ts';
import type { ActiveCondition } from '../telemetry/index.ts';
import type { UpstreamStatus } from '../upstream/index.ts';

/** What a running daemon says of itself to `holdfast status`. Times in milliseconds. */
export interface StatusReport {
  readonly version: string;
  readonly gatewayId: string;
  readonly appId: string;
  readonly uptime: number;
  readonly state: 'running' | 'degraded' | 'failed';
  readonly listeners: readonly string[];
  readonly clients: { readonly coap: number; readonly mqtt: number };
  readonly upstreams: readonly UpstreamStatus[];
  readonly store: {
    readonly messages: number;
    readonly bytes: number;
    /** Mean time of a commit since start; 0 before the first. */
    readonly commitLatency: number;
    readonly writable: boolean;
  };
  readonly conditions: readonly ActiveCondition[];
}

/** The worst of the conditions, as one word. */
export function stateOf(conditions: readonly ActiveCondition[]): StatusReport['state'] {
  if (conditions.some((condition) => condition.severity === 'failed')) return 'failed';
  return conditions.length > 0 ? 'degraded' : 'running';
}

/** Queues and links as `$SYS/broker/` has them. */
export function* upstreamFigures(upstreams: readonly { status(): UpstreamStatus }[]): Generator<Figure> {
  for (const upstream of upstreams) {
    const { name } = upstream.status();
    yield [`queue/${name}/messages`, () => upstream.status().queuedMessages];
    yield [`connection/${name}/state`, () => (upstream.status().state === 'connected' ? '1' : '0')];
  }
}
