import { describe, expect, it } from 'vitest';
import { createLogger, Health, type LogStream, Metrics } from '../../src/telemetry/index.ts';
import { FakeClock } from '../support/fake-clock.ts';

function sink(isTTY = false): LogStream & { readonly lines: string[]; fail(error: Error): void } {
  const lines: string[] = [];
  const listeners: ((error: Error) => void)[] = [];
  return {
    isTTY,
    lines,
    write: (text) => lines.push(text),
    on: (_event, listener) => listeners.push(listener),
    fail: (error) => {
      for (const listener of listeners) listener(error);
    },
  };
}

describe('the logger', () => {
  it('writes JSON lines, at its level and above', () => {
    const stream = sink();
    const logger = createLogger({ level: 'info', format: 'auto', stream, env: {} });
    logger.child('coap').warn({ port: 5683 }, 'it listens');
    logger.debug({}, 'not seen');
    expect(stream.lines).toHaveLength(1);
    expect(JSON.parse(stream.lines[0] ?? '')).toMatchObject({ level: 40, part: 'coap', port: 5683, msg: 'it listens' });
  });

  it('changes its level and that of its children', () => {
    const stream = sink();
    const logger = createLogger({ level: 'info', format: 'json', stream, env: {} });
    const grandchild = logger.child('a').child('b');
    grandchild.debug({}, 'not seen');
    logger.setLevel('debug');
    grandchild.debug({}, 'seen');
    logger.setLevel('error');
    grandchild.warn({}, 'not seen');
    expect(stream.lines).toHaveLength(1);
  });

  it('begins a line with its priority under systemd', () => {
    for (const env of [{ JOURNAL_STREAM: '8:1' }, { NOTIFY_SOCKET: '/x' }]) {
      const stream = sink();
      const logger = createLogger({ level: 'debug', format: 'auto', stream, env });
      logger.debug({}, 'a');
      logger.info({ text: '"level":50' }, 'b');
      logger.warn({}, 'c');
      logger.error({}, 'd');
      expect(stream.lines.map((line) => line.slice(0, 4))).toEqual(['<7>{', '<6>{', '<4>{', '<3>{']);
    }
  });

  it('is for people on a terminal, and where that is asked for', () => {
    for (const [stream, format] of [
      [sink(true), 'auto'],
      [sink(), 'pretty'],
    ] as const) {
      createLogger({ level: 'info', format, stream, env: {} }).info({ n: 1 }, 'it listens');
      expect(stream.lines.join('')).toMatch(/INFO.*it listens/);
      expect(stream.lines.join('')).not.toContain('"level"');
    }
  });

  it('outlives its reader', () => {
    const stream = sink();
    const logger = createLogger({ level: 'info', format: 'json', stream, env: {} });
    stream.fail(new Error('EPIPE'));
    logger.info({}, 'nobody reads this');
    expect(stream.lines).toEqual([]);
    const thrower = {
      write: () => {
        throw new Error('EPIPE');
      },
    };
    createLogger({ level: 'info', format: 'json', stream: thrower, env: {} }).info({}, 'nor this');
  });

  it('hides what a secret’s key holds, at any depth, and survives a value that holds itself', () => {
    const stream = sink();
    const self: Record<string, unknown> = { name: 'kept' };
    self.self = self;
    createLogger({ level: 'info', format: 'json', stream, env: {} })
      .child('x')
      .info({ password: 'hush', a: { Token: 'hush' }, list: [{ deep: { secret: 'hush' } }], self }, 'it logged in');
    const [line = ''] = stream.lines;
    expect(line).not.toContain('hush');
    expect(JSON.parse(line)).toMatchObject({ password: '[hidden]', self: { name: 'kept' }, part: 'x' });
  });

  it('keeps no more than a bound for a reader that does not read, and says how many lines it dropped', () => {
    const lines: string[] = [];
    const stream = { writableLength: 0, write: (text: string) => lines.push(text) };
    const logger = createLogger({ level: 'info', format: 'json', stream, env: {} });
    logger.info({}, 'before');
    stream.writableLength = 2_000_000;
    for (let n = 0; n < 7; n++) logger.info({}, 'dropped');
    stream.writableLength = 900_000;
    logger.info({}, 'dropped too: not yet room enough to begin again');
    stream.writableLength = 0;
    logger.info({}, 'after');
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { msg: 'before' },
      { level: 40, lines: 8 },
      { msg: 'after' },
    ]);
  });

  it('goes on after a write that had to be tried again', () => {
    const lines: string[] = [];
    let full = true;
    const write = (text: string) => {
      if (full) throw Object.assign(new Error('try again'), { code: 'EAGAIN' });
      lines.push(text);
    };
    const logger = createLogger({ level: 'info', format: 'json', stream: { write }, env: {} });
    logger.info({}, 'lost');
    full = false;
    logger.info({}, 'after');
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([{ lines: 1 }, { msg: 'after' }]);
  });
});

describe('health', () => {
  it('shows what holds, per subject, and since when', () => {
    const clock = new FakeClock();
    const health = new Health(clock);
    const down = { code: 'down', severity: 'degraded', text: 'An upstream is down.' } as const;
    const raised = [health.raise(down, 'first', 'a'), health.raise(down, 'first', 'a')];
    clock.advance(500);
    raised.push(health.raise(down, 'second', 'b'), health.raise(down, 'changed', 'a'));
    expect(raised).toEqual([true, false, true, true]);
    expect(health.active()).toEqual([
      { ...down, detail: 'changed', age: 500 },
      { ...down, detail: 'second', age: 0 },
    ]);
    health.clear(down, 'a');
    health.clear(down, 'never');
    expect(health.active()).toHaveLength(1);
  });
});

describe('metrics', () => {
  it('are one per name and labels, whatever their order', () => {
    const metrics = new Metrics();
    metrics.counter('x_total', 'X.', { a: '1', b: '2' }).add(3);
    metrics.counter('x_total', 'X.', { b: '2', a: '1' }).add();
    metrics.gauge('y', 'Y.', () => 5);
    metrics.gauge('y', 'Y.', () => 6);
    expect(metrics.value('x_total', { b: '2', a: '1' })).toBe(4);
    expect(metrics.value('y')).toBe(6);
    expect(metrics.value('z')).toBeUndefined();
    expect([...metrics.series()]).toHaveLength(2);
  });
});
