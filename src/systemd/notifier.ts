import { spawn } from 'node:child_process';
import { writeSync } from 'node:fs';
import notify from 'systemd-notify';
import { type Clock, reasonOf } from '../base/index.ts';
import type { Logger } from '../telemetry/index.ts';

/** How a message gets to systemd; rejected where it does not. */
export interface NotifyTransport {
  /** READY=1 and STATUS=, or STATUS= alone. */
  tell(message: { readonly ready?: true; readonly status: string }): Promise<unknown>;
  /** Variables as sd_notify(3) has them, `NAME=VALUE`. */
  variables(variables: readonly string[]): Promise<unknown>;
}

const patience = 10_000;
/** More than this waiting says that systemd does not listen; what is older no longer matters. */
const maxWaiting = 16;

/**
 * Tells systemd how the daemon is. Silent where neither NOTIFY_FD nor NOTIFY_SOCKET is set; one message after the other, in order; never
 * throws, since no message is worth the service: the first failure is logged.
 */
export class Notifier {
  readonly enabled: boolean;
  readonly #transport: NotifyTransport;
  readonly #logger: Logger;
  readonly #clock: Clock;
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;
  #complained = false;

  constructor(deps: {
    env: Readonly<Record<string, string | undefined>>;
    logger: Logger;
    clock: Clock;
    transport?: NotifyTransport;
  }) {
    const fd = notifyFd(deps.env.NOTIFY_FD);
    this.enabled = fd !== undefined || Boolean(deps.env.NOTIFY_SOCKET);
    this.#transport = deps.transport ?? (fd === undefined ? systemTransport : fdTransport(fd));
    this.#logger = deps.logger;
    this.#clock = deps.clock;
  }

  ready(status: string): Promise<void> {
    return this.#send(() => this.#transport.tell({ ready: true, status: oneLine(status) }));
  }

  status(text: string): Promise<void> {
    return this.#send(() => this.#transport.tell({ status: oneLine(text) }));
  }

  stopping(): Promise<void> {
    return this.#send(() => this.#transport.variables(['STOPPING=1']));
  }

  /** To be followed by `ready` once the configuration was read, taken or not. */
  reloading(): Promise<void> {
    const microseconds = process.hrtime.bigint() / 1_000n;
    return this.#send(() => this.#transport.variables(['RELOADING=1', `MONOTONIC_USEC=${microseconds}`]));
  }

  watchdog(): Promise<void> {
    return this.#send(() => this.#transport.variables(['WATCHDOG=1']));
  }

  #send(run: () => Promise<unknown>): Promise<void> {
    if (!this.enabled || this.#waiting >= maxWaiting) return Promise.resolve();
    this.#waiting += 1;
    this.#last = this.#last.then(async () => {
      try {
        await this.#within(run());
      } catch (thrown) {
        if (!this.#complained)
          this.#logger.warn({ reason: reasonOf(thrown) }, 'systemd was not told: systemd-notify failed');
        this.#complained = true;
      } finally {
        this.#waiting -= 1;
      }
    });
    return this.#last;
  }

  #within(sent: Promise<unknown>): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after('systemd-notify', patience, () => reject(new Error('no end')));
      sent.then(
        () => {
          timer.cancel();
          resolve();
        },
        (thrown: unknown) => {
          timer.cancel();
          reject(thrown);
        },
      );
    });
  }
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').slice(0, 512);
}

/** The descriptor that a launcher left open; 0 to 2 are the daemon's own. */
function notifyFd(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,6}$/.test(text) && Number(text) > 2 ? Number(text) : undefined;
}

/** A socket that is connected to systemd already: a message costs no process, and comes from this one. */
function fdTransport(fd: number): NotifyTransport {
  const send = async (variables: readonly string[]) => writeSync(fd, variables.join('\n'));
  return {
    tell: ({ ready, status }) => send([...(ready === true ? ['READY=1'] : []), `STATUS=${status}`]),
    variables: send,
  };
}

/** The package for what it can say; for the rest the program that it runs too. Both run in a process of their own. */
const systemTransport: NotifyTransport = {
  tell: (message) => notify(message),
  variables: (variables) =>
    new Promise((resolve, reject) => {
      const child = spawn('systemd-notify', [`--pid=${process.pid}`, ...variables], { stdio: 'ignore' });
      child.once('error', reject);
      child.once('exit', (code) =>
        code === 0 ? resolve(undefined) : reject(new Error(`systemd-notify ended: ${code}`)),
      );
    }),
};
