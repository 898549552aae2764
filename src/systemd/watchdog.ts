import type { Clock, Service, Timer } from '../base/index.ts';
import type { Notifier } from './notifier.ts';

/**
 * Tells systemd that the daemon works, twice in the time after which it would be restarted (WATCHDOG_USEC), and only
 * where `healthy` says so. Does nothing where systemd does not ask for it, or asks another process (WATCHDOG_PID).
 */
export class Watchdog implements Service {
  readonly name = 'watchdog';
  readonly #interval: number | undefined;
  readonly #deps: { notifier: Pick<Notifier, 'watchdog'>; clock: Clock; healthy: () => boolean };
  #timer: Timer | undefined;

  constructor(deps: {
    notifier: Pick<Notifier, 'watchdog'>;
    clock: Clock;
    healthy: () => boolean;
    env: Readonly<Record<string, string | undefined>>;
    pid?: number;
  }) {
    this.#deps = deps;
    const microseconds = Number(deps.env.WATCHDOG_USEC);
    const other = Boolean(deps.env.WATCHDOG_PID) && deps.env.WATCHDOG_PID !== `${deps.pid ?? process.pid}`;
    this.#interval = Number.isFinite(microseconds) && microseconds > 0 && !other ? microseconds / 2_000 : undefined;
  }

  async start(): Promise<void> {
    if (this.#interval === undefined) return;
    this.#ping();
    this.#timer = this.#deps.clock.every('watchdog', this.#interval, () => this.#ping());
  }

  async stop(): Promise<void> {
    this.#timer?.cancel();
  }

  #ping(): void {
    let healthy = false;
    try {
      healthy = this.#deps.healthy();
    } catch {
      // what cannot tell is not well
    }
    if (healthy) void this.#deps.notifier.watchdog();
  }
}
