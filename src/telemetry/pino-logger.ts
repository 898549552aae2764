import { type Logger as PinoLogger, pino } from 'pino';
import { prettyFactory } from 'pino-pretty';
import type { Logger } from './logger.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** What lines are written to. */
export interface LogStream {
  readonly isTTY?: boolean;
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

/** Writes with pino, in this thread: nothing is lost at exit, and a reader that went away ends the lines, not the process. */
export function createLogger(options: LoggerOptions): RootLogger {
  const stream = options.stream ?? process.stdout;
  const env = options.env ?? process.env;
  let broken = false;
  stream.on?.('error', () => {
    broken = true;
  });
  const pretty = options.format === 'pretty' || (options.format === 'auto' && stream.isTTY === true);
  const shape = pretty ? prettyLines(stream.isTTY === true) : underSystemd(env) ? withPriority : (line: string) => line;
  const root = pino(
    { level: options.level, base: null, timestamp: pino.stdTimeFunctions.isoTime, messageKey: 'msg' },
    {
      write: (line: string) => {
        if (broken) return;
        try {
          stream.write(shape(line));
        } catch {
          broken = true;
        }
      },
    },
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
