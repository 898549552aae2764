import { formatDuration, formatSize } from '../base/index.ts';

interface ShownUpstream {
  readonly name?: string;
  readonly url?: string;
  readonly state?: string;
  readonly queuedMessages?: number;
  readonly queuedBytes?: number;
  /** Milliseconds. */
  readonly oldestAge?: number;
  readonly lastError?: string;
}

/** What is shown of a daemon's answer; a daemon of another version may leave some of it out. */
interface Shown {
  readonly version?: string;
  readonly appId?: string;
  readonly uptime?: number;
  readonly state?: string;
  readonly listeners?: readonly string[];
  readonly clients?: { readonly coap?: number; readonly mqtt?: number };
  readonly upstreams?: readonly ShownUpstream[];
  readonly store?: { readonly messages?: number; readonly bytes?: number; readonly writable?: boolean };
  readonly conditions?: readonly {
    readonly severity?: string;
    readonly text?: string;
    readonly detail?: string;
    readonly age?: number;
  }[];
}

/** The answer for people: what listens, who is connected, what waits, what is wrong. */
export function formatStatus(answer: object): string {
  const status: Shown = answer;
  const seconds = (ms: number | undefined) => formatDuration(Math.max(1_000, Math.round((ms ?? 0) / 1_000) * 1_000));
  const lines = [
    `holdfast ${status.version ?? '?'} is ${status.state ?? 'running'}, up ${seconds(status.uptime)}, AppID ${status.appId ?? '?'}`,
    `listeners  ${status.listeners?.join('  ') || 'none'}`,
    `clients    ${status.clients?.coap ?? 0} CoAP, ${status.clients?.mqtt ?? 0} MQTT`,
    `store      ${status.store?.messages ?? 0} messages, ${rounded(status.store?.bytes ?? 0)}${status.store?.writable === false ? ', NOT WRITABLE' : ''}`,
  ];
  for (const one of status.upstreams ?? []) {
    lines.push(upstreamLine(one, seconds));
  }
  if ((status.upstreams ?? []).length === 0) lines.push('upstream   none');
  for (const one of status.conditions ?? []) {
    const detail = one.detail === undefined || one.detail === '' ? '' : ` (${one.detail})`;
    lines.push(`${one.severity ?? 'degraded'}   ${one.text ?? '?'}${detail}, for ${seconds(one.age)}`);
  }
  return `${lines.map(printable).join('\n')}\n`;
}

function upstreamLine(one: ShownUpstream, seconds: (ms: number | undefined) => string): string {
  const queued = one.queuedMessages ?? 0;
  const details = [
    ...(one.queuedBytes === undefined ? [] : [rounded(one.queuedBytes)]),
    ...(one.oldestAge === undefined ? [] : [`oldest ${seconds(one.oldestAge)}`]),
  ];
  const waiting = queued > 0 && details.length > 0 ? ` (${details.join(', ')})` : '';
  const url = one.url === undefined || one.url === '' ? '' : ` ${one.url}`;
  const error = one.lastError === undefined || one.lastError === '' ? '' : `; ${one.lastError}`;
  return `upstream   ${one.name ?? '?'}: ${one.state ?? '?'}${url}, ${queued} queued${waiting}${error}`;
}

function rounded(bytes: number): string {
  const unit = [1_073_741_824, 1_048_576, 1_024].find((one) => bytes >= one * 10) ?? 1;
  return formatSize(Math.round(bytes / unit) * unit);
}

/** Without what would move the cursor of a terminal: a detail may quote a client. */
function printable(line: string): string {
  return line.replace(/\p{Cc}/gu, '?');
}
