import { type Health, type Metrics, prometheusText, prometheusType } from '../telemetry/index.ts';
import { openApi } from './openapi.ts';
import type { Route } from './route.ts';
import { pagePolicy, type StatusSource, statusPage } from './status-page.ts';

/** What stands beside the API and asks for no token. */
export interface Page {
  readonly status: number;
  readonly type: string;
  readonly text: string;
  readonly policy?: string;
}

export interface PageDeps {
  readonly status: () => StatusSource;
  readonly metrics: Metrics;
  readonly health: Health;
  readonly version: string;
}

const json = 'application/json; charset=utf-8';

/** Makes each page by its path. */
export function pagesOf(deps: PageDeps, routes: readonly Route[]): ReadonlyMap<string, () => Page> {
  const document = `${JSON.stringify(openApi(routes, deps.version))}\n`;
  return new Map<string, () => Page>([
    [
      '/',
      () => ({ status: 200, type: 'text/html; charset=utf-8', text: statusPage(deps.status()), policy: pagePolicy }),
    ],
    // that it is answered at all says it: the event loop turns
    ['/healthz', () => ({ status: 200, type: 'text/plain; charset=utf-8', text: 'ok\n' })],
    ['/readyz', () => readiness(deps.health)],
    ['/metrics', () => ({ status: 200, type: prometheusType, text: prometheusText(deps.metrics.series()) })],
    ['/openapi.json', () => ({ status: 200, type: json, text: document })],
  ]);
}

/** Ready unless a promise cannot be kept now; what holds is told in words. */
function readiness(health: Health): Page {
  const active = health.active();
  const failed = active.some(({ severity }) => severity === 'failed');
  const conditions = active.map(({ code, severity, text, detail, age }) => ({
    code,
    severity,
    text,
    detail,
    seconds: Math.round(age / 1_000),
  }));
  const state = failed ? 'failed' : active.length > 0 ? 'degraded' : 'running';
  return { status: failed ? 503 : 200, type: json, text: `${JSON.stringify({ ready: !failed, state, conditions })}\n` };
}
