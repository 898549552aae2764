import type { Clock } from './clock.ts';
import { HoldfastError, reasonOf } from './errors.ts';

/** A part that runs. Constructing it has no side effects; `stop` may be called when `start` failed or never ran. */
export interface Service {
  readonly name: string;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** What went wrong while stopping: a service that threw, or one that did not stop within its deadline. */
export interface StopFailure {
  readonly service: string;
  readonly reason: string;
}

/** Starts services in order and stops them in reverse; a failed start undoes what had started. */
export class ServiceStack {
  readonly #clock: Clock;
  readonly #started: Service[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Starts `services` in order.
   * @throws HoldfastError `start_failed` (or the service's own HoldfastError) after the started ones were stopped again.
   */
  async start(services: readonly Service[], stopDeadline: number): Promise<void> {
    for (const service of services) {
      try {
        this.#started.push(service);
        await service.start();
      } catch (thrown) {
        await this.stop(stopDeadline);
        if (thrown instanceof HoldfastError) throw thrown;
        throw new HoldfastError('start_failed', `${service.name} did not start: ${reasonOf(thrown)}`, {
          cause: thrown,
        });
      }
    }
  }

  /** Stops everything that was started, the last one first. `deadline` (ms) holds for all of it together. */
  async stop(deadline: number): Promise<readonly StopFailure[]> {
    const failures: StopFailure[] = [];
    const until = this.#clock.monotonic() + deadline;
    for (let service = this.#started.pop(); service !== undefined; service = this.#started.pop()) {
      const left = Math.max(0, until - this.#clock.monotonic());
      const reason = await this.#within(left, service);
      if (reason !== undefined) failures.push({ service: service.name, reason });
    }
    return failures;
  }

  #within(ms: number, service: Service): Promise<string | undefined> {
    return new Promise((resolve) => {
      const timer = this.#clock.after(`stop ${service.name}`, ms, () =>
        resolve(`not stopped after ${Math.round(ms)} ms`),
      );
      service.stop().then(
        () => {
          timer.cancel();
          resolve(undefined);
        },
        (thrown: unknown) => {
          timer.cancel();
          resolve(reasonOf(thrown));
        },
      );
    });
  }
}

/** A step of a start that needs nothing at the stop. */
export function startStep(name: string, start: () => Promise<void>): Service {
  return { name, start, stop: async () => undefined };
}
