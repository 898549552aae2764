import { type Clock, HoldfastError, makeDirectory, reasonOf } from '../base/index.ts';
import { type Config, changedKeys, type LoadResult } from '../config/index.ts';
import { Notifier, takeSockets, Watchdog } from '../systemd/index.ts';
import { createLogger } from '../telemetry/index.ts';
import { Gateway } from './gateway.ts';
import { loadIdentity } from './identity.ts';
import type { StatusReport } from './status.ts';

const statusInterval = 10_000;

/**
 * Runs a gateway until it is told to stop.
 * @returns the exit code: 0 after an ordered stop, 1 where it did not start or not stop in order, 78 where it never will
 * with this version of the program.
 */
export async function run(
  config: Config,
  load: () => LoadResult | Promise<LoadResult>,
  deps: { clock: Clock; version: string; env: Record<string, string | undefined> },
): Promise<number> {
  const { clock, version, env } = deps;
  // what devices say is nobody else's business
  process.umask(0o077);
  const logger = createLogger({ level: config.log.level, format: config.log.format });
  const sockets = takeSockets(env);
  const notifier = new Notifier({ env, clock, logger: logger.child('systemd') });
  const crashed = new Promise<string>((resolve) => {
    for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
      process.on(event, (thrown: unknown) => {
        logger.error(
          { reason: reasonOf(thrown), stack: thrown instanceof Error ? thrown.stack : undefined },
          'an error was not handled',
        );
        resolve('crash');
      });
    }
  });
  const told = new Promise<string>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      let before = false;
      process.on(signal, () => {
        if (before) process.kill(process.pid, 'SIGKILL');
        before = true;
        resolve(signal);
      });
    }
  });
  let gateway: Gateway | undefined;
  const reload = async () => {
    if (gateway === undefined) return;
    void notifier.reloading();
    const result = await load();
    if (result.ok) {
      await gateway.reload(result.config);
      logger.setLevel(result.config.log.level);
      const { needRestart } = changedKeys(config, result.config);
      const rest = needRestart.length === 0 ? '' : '; some keys wait for a restart';
      logger.info({ needRestart }, `the configuration was reloaded${rest}`);
    } else {
      logger.error({ problems: result.problems }, 'the configuration was not reloaded: the old one goes on');
    }
    void notifier.ready(sentence(gateway.status()));
  };
  process.on('SIGHUP', () => {
    reload().catch((thrown: unknown) =>
      logger.error({ reason: reasonOf(thrown) }, 'the configuration was not reloaded'),
    );
  });
  let running: Gateway;
  try {
    await makeDirectory(config.stateDir, 0o750);
    const identity = await loadIdentity(config.stateDir, config.app.id);
    running = new Gateway({ config, identity, clock, logger, version, sockets, usersChanged: reload });
    const early = await Promise.race([running.start(), told, crashed]);
    if (early !== undefined) {
      logger.info({ reason: early }, 'stopping before the start is over');
      await running.stop();
      return early === 'crash' ? 1 : 0;
    }
  } catch (thrown) {
    logger.error({ reason: reasonOf(thrown) }, 'holdfast did not start');
    return thrown instanceof HoldfastError && thrown.code === 'later_format' ? 78 : 1;
  }
  gateway = running;
  const watchdog = new Watchdog({ notifier, env, clock, healthy: () => running.healthy });
  await watchdog.start();
  const { listeners } = running.status();
  logger.info({ version, listeners }, 'holdfast is ready');
  void notifier.ready(sentence(running.status()));
  let shown = sentence(running.status());
  const status = clock.every('systemd status', statusInterval, () => {
    const now = sentence(running.status());
    if (now !== shown) void notifier.status(now);
    shown = now;
  });

  const reason = await Promise.race([told, crashed]);
  status.cancel();
  void notifier.stopping();
  logger.info({ reason }, 'stopping');
  await watchdog.stop();
  try {
    await running.stop();
    logger.info({}, 'holdfast has stopped');
    return reason === 'crash' ? 1 : 0;
  } catch (thrown) {
    logger.error({ reason: reasonOf(thrown) }, 'holdfast did not stop in order');
    return 1;
  }
}

/** The status line that systemd shows. */
function sentence(report: StatusReport): string {
  const clients = `${report.clients.coap} CoAP and ${report.clients.mqtt} MQTT clients`;
  const upstreams = report.upstreams.map(
    ({ name, state, queuedMessages }) => `${name} ${state}, ${queuedMessages} queued`,
  );
  const wrong = report.conditions.map(({ text }) => text);
  return [clients, ...upstreams, ...wrong].join('; ');
}
