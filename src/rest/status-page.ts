import type { ActiveCondition } from '../telemetry/index.ts';

/** What the status page shows. Times in milliseconds. */
export interface StatusSource {
  readonly version: string;
  readonly gatewayId: string;
  readonly appId: string;
  readonly uptime: number;
  readonly state: string;
  readonly listeners: readonly string[];
  readonly clients: Readonly<Record<string, number>>;
  readonly upstreams: readonly { readonly name: string; readonly state: string; readonly queuedMessages: number }[];
  readonly store: { readonly messages: number; readonly bytes: number; readonly writable: boolean };
  readonly conditions: readonly ActiveCondition[];
}

const style = `:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem}h2{font-size:1rem;margin:1.6rem 0 .3rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid #8884;vertical-align:top}th{font-weight:600}
.state{padding:.1rem .5rem;border-radius:.3rem;color:#fff;background:#2a7d46}.degraded{background:#a06a00}.failed{background:#b3261e}`;

/** Nothing is loaded, nothing runs: the style stands in the page. */
export const pagePolicy =
  "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** The status page, whole and without scripts; everything that is not a fixed text is escaped. */
export function statusPage(status: StatusSource): string {
  const { store } = status;
  const facts = [
    ['Version', status.version],
    ['Gateway', status.gatewayId],
    ['Application', status.appId],
    ['Up for', duration(status.uptime)],
    [
      'Clients',
      Object.entries(status.clients)
        .map(([protocol, n]) => `${n} ${protocol}`)
        .join(', '),
    ],
    ['Stored', `${store.messages} messages, ${store.bytes} bytes${store.writable ? '' : '; not writable'}`],
    ['Listening', status.listeners.join(' ')],
  ];
  const upstreams = status.upstreams.map(({ name, state, queuedMessages }) => [name, state, String(queuedMessages)]);
  const conditions = status.conditions.map(({ severity, text, detail, age }) => [
    severity,
    detail === '' ? text : `${text} (${detail})`,
    duration(age),
  ]);
  return [
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
    `<title>Holdfast ${escaped(status.gatewayId)}</title><style>${style}</style></head><body>`,
    `<h1>Holdfast <span class="state ${escaped(status.state)}">${escaped(status.state)}</span></h1>`,
    table(undefined, facts),
    '<h2>What is wrong</h2>',
    conditions.length === 0 ? '<p>Nothing.</p>' : table(['Severity', 'What', 'For'], conditions),
    '<h2>Upstreams</h2>',
    upstreams.length === 0 ? '<p>None.</p>' : table(['Name', 'State', 'Queued'], upstreams),
    '<h2>For programs</h2><p><a href="/openapi.json">openapi.json</a> <a href="/metrics">metrics</a> ',
    '<a href="/readyz">readyz</a> <a href="/healthz">healthz</a></p></body></html>\n',
  ].join('\n');
}

function table(head: readonly string[] | undefined, rows: readonly (readonly string[])[]): string {
  const cells = (tag: string, texts: readonly string[]) =>
    `<tr>${texts.map((text) => `<${tag}>${escaped(text)}</${tag}>`).join('')}</tr>`;
  return `<table>${head === undefined ? '' : cells('th', head)}${rows.map((row) => cells('td', row)).join('')}</table>`;
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (char) => entities[char] ?? char);
}

function duration(ms: number): string {
  const seconds = Math.floor(ms / 1_000);
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ];
  const first = parts.findIndex(([n]) => n > 0);
  return (first === -1 ? parts.slice(-1) : parts.slice(first, first + 2)).map(([n, unit]) => `${n} ${unit}`).join(' ');
}
