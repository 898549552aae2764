import { type Logger as PinoLogger, pino } from 'pino';
import { prettyFactory } from 'pino-pretty';
import type { Logger } from './logger.ts';
import { withoutSecrets } from './redaction.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** What lines are written to. */
export interface LogStream {
  readonly isTTY?: boolean;
  /** Bytes that were written and not yet taken, as of a Node.js stream. */
  readonly writableLength?: number;
  write(text: string): unknown;
  on?(event: 'error', listener: (error: Error) => void): unknown;
}

export interface LoggerOptions {
  readonly level: LogLevel;
  /** `auto`: pretty on a terminal, else JSON. Under systemd JSON lines begin with their priority, `<6>`. */
  readonly format: 'auto' | 'json' | 'pretty';
  /** Default: standard output. */
  readonly stream?: LogStream;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** A logger whose level can be changed while it runs, its children's too. */
export interface RootLogger extends Logger {
  setLevel(level: LogLevel): void;
}

const priorities: Readonly<Record<string, string>> = { '20': '<7>', '30': '<6>', '40': '<4>', '50': '<3>' };

/** A reader that is slow may have this much waiting; more would be the daemon's memory. */
const maxWaiting = 1_048_576;

/**
 * Writes with pino, in this thread. A reader that went away ends the lines, not the process; for one that does not read,
 * lines are dropped, counted, and told of once it reads again. Values of keys such as `password` are never written.
 */
export function createLogger(options: LoggerOptions): RootLogger {
  const stream = options.stream ?? process.stdout;
  const env = options.env ?? process.env;
  let broken = false;
  let dropped = 0;
  stream.on?.('error', () => {
    broken = true;
  });
  const pretty = options.format === 'pretty' || (options.format === 'auto' && stream.isTTY === true);
  const shape = pretty ? prettyLines(stream.isTTY === true) : underSystemd(env) ? withPriority : (line: string) => line;
  const write = (line: string): void => {
    if (broken) return;
    const waiting = stream.writableLength ?? 0;
    if (waiting > maxWaiting || (dropped > 0 && waiting > maxWaiting / 2)) {
      dropped += 1;
      return;
    }
    if (dropped > 0) {
      const lines = dropped;
      dropped = 0;
      root.warn({ lines }, 'log lines were dropped: nobody read them');
    }
    try {
      stream.write(shape(line));
    } catch (thrown) {
      if (thrown instanceof Error && 'code' in thrown && thrown.code === 'EAGAIN') dropped += 1;
      else broken = true;
    }
  };
  const root: PinoLogger = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      messageKey: 'msg',
      formatters: { log: (fields) => withoutSecrets(fields) },
    },
    { write },
  );
  const children: WeakRef<PinoLogger>[] = [];
  const wrap = (inner: PinoLogger): Logger => ({
    debug: (fields, text) => inner.debug(fields, text),
    info: (fields, text) => inner.info(fields, text),
    warn: (fields, text) => inner.warn(fields, text),
    error: (fields, text) => inner.error(fields, text),
    child: (part) => {
      const made = inner.child({ part });
      // a child of pino keeps the level that it was made with
      children.push(new WeakRef(made));
      return wrap(made);
    },
  });
  return {
    ...wrap(root),
    setLevel: (level) => {
      root.level = level;
      for (const child of children) {
        const alive = child.deref();
        if (alive !== undefined) alive.level = level;
      }
    },
  };
}

function underSystemd(env: Readonly<Record<string, string | undefined>>): boolean {
  return Boolean(env.JOURNAL_STREAM) || Boolean(env.NOTIFY_SOCKET);
}

function withPriority(line: string): string {
  return `${priorities[/"level":(\d+)/.exec(line)?.[1] ?? ''] ?? '<6>'}${line}`;
}

function prettyLines(colorize: boolean): (line: string) => string {
  const format = prettyFactory({ colorize, translateTime: 'SYS:HH:MM:ss.l', ignore: 'pid,hostname', singleLine: true });
  return (line) => format(line) ?? '';
}
