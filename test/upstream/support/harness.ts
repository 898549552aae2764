import { type HoldfastError, systemClock } from '../../../src/base/index.ts';
import type { Message } from '../../../src/domain/index.ts';
import { Health, type Logger, Metrics, silentLogger } from '../../../src/telemetry/index.ts';
import {
  type ReplayOptions,
  Upstream,
  type UpstreamDeps,
  type UpstreamOptions,
  type UpstreamRule,
} from '../../../src/upstream/index.ts';
import { FakeLog } from './fake-log.ts';

export const rule = (given: Partial<UpstreamRule> = {}): UpstreamRule => ({
  topic: '#',
  direction: 'out',
  qos: 1,
  localPrefix: '',
  remotePrefix: '',
  ...given,
});

export const replay = (given: Partial<ReplayOptions> = {}): ReplayOptions => ({
  rate: 0,
  bytesRate: 0,
  order: 'fifo',
  freshShare: 50,
  startDelay: 0,
  ...given,
});

export const options = (given: Partial<UpstreamOptions> = {}): UpstreamOptions => ({
  name: 'cloud',
  urls: ['mqtt://127.0.0.1:1'],
  clientId: 'gw-7',
  rejectUnauthorized: true,
  keepalive: 30_000,
  protocol: 'auto',
  rules: [rule()],
  window: 64,
  ackTimeout: 30_000,
  backoff: { base: 20, cap: 100 },
  queue: { maxBytes: 1e9, overflow: 'drop_oldest', qos0: true },
  replay: replay(),
  ...given,
});

/** A sink that notes what came; `answer` decides about each message. */
export class FakeSink {
  readonly taken: Message[] = [];
  answer: (message: Message, done: (error?: HoldfastError, id?: bigint) => void) => void = (message, done) => {
    this.taken.push(message);
    done(undefined, 1n);
  };
  publish(message: Message, done: (error?: HoldfastError, id?: bigint) => void): void {
    this.answer(message, done);
  }
}

/** A logger that notes its lines. */
export class FakeLogger implements Logger {
  readonly lines: { readonly level: string; readonly fields: object; readonly text: string }[] = [];
  debug = () => undefined;
  info = (fields: object, text: string) => void this.lines.push({ level: 'info', fields, text });
  warn = (fields: object, text: string) => void this.lines.push({ level: 'warn', fields, text });
  error = (fields: object, text: string) => void this.lines.push({ level: 'error', fields, text });
  child = () => this;
}

export function harness(given: Partial<UpstreamOptions> = {}, deps: Partial<UpstreamDeps> = {}) {
  const log = (deps.log as FakeLog | undefined) ?? new FakeLog();
  const sink = new FakeSink();
  const metrics = new Metrics();
  const clock = deps.clock ?? systemClock;
  const health = new Health(clock);
  const upstream = new Upstream({
    options: options(given),
    log,
    sink,
    clock,
    logger: silentLogger,
    metrics,
    health,
    gatewayId: 'gate1',
    age: (message) => clock.monotonic() - message.monotonic,
    ...deps,
  });
  return { upstream, log, sink, metrics, health };
}
