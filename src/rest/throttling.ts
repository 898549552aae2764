import type { Clock } from '../base/index.ts';
import type { Caller, Context } from './route.ts';

/** Resolves after `ms`, or at once when the caller goes away. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (ms <= 0 || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = clock.after('slowed attempt', ms, () => {
      signal.removeEventListener('abort', gone);
      resolve();
    });
    const gone = () => {
      timer.cancel();
      resolve();
    };
    signal.addEventListener('abort', gone, { once: true });
  });
}

/**
 * Holds the answer to a wrong secret that nobody can guess (a token, the application's secret). It was checked first, so
 * that the right one is never slowed, whoever shares the address; beyond the bound on those that wait the answer comes
 * at once, which tells a guesser no more.
 */
export async function slowWrongSecret(
  { throttle, clock }: Pick<Context, 'throttle' | 'clock'>,
  caller: Caller,
): Promise<void> {
  const delay = throttle.delayFor(caller.address);
  throttle.failed(caller.address);
  if (delay !== 'refuse') await pause(clock, delay, caller.signal);
}
