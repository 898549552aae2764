import { systemClock } from './base/index.ts';
import { main } from './cli/index.ts';
import { connectGateway } from './client/index.ts';
import { AccessRules, PskFile, UsersFile } from './connections/index.ts';
import { askDaemon, loadIdentity, run } from './gateway/index.ts';

/** The program: the command line, with the world it works on. */

/** Put in by the build, from package.json. */
declare const HOLDFAST_VERSION: string;

async function program(): Promise<void> {
  const { env, stdout, stderr } = process;

  process.exitCode = await main(process.argv.slice(2), {
    run: (config, load) => run(config, load, { clock: systemClock, version: HOLDFAST_VERSION, env }),
    ask: (config, request) => askDaemon(config.stateDir, request, systemClock),
    users: (path) => new UsersFile(path),
    psks: (path) => new PskFile(path),
    identity: (config) => loadIdentity(config.stateDir, config.app.id),
    connect: (target, events) => connectGateway(target, events, systemClock),
    mayPublish: (config, who, topic) => new AccessRules(config.auth.acl).allows(who, 'publish', topic),
    untilStopped,
    clock: systemClock,
    stdout,
    stderr,
    // opened by who reads it: the daemon does not
    get stdin() {
      return process.stdin;
    },
    env,
    cwd: process.cwd(),
    version: HOLDFAST_VERSION,
  });
  // the last lines may still be on their way into a pipe; a reader that stands still does not keep the process
  const patience = systemClock.after('last output', 1_000, () => process.exit());
  await Promise.all([stdout, stderr].map((stream) => new Promise<void>((done) => stream.write('', () => done()))));
  patience.cancel();
  process.exit();
}

/** A second signal ends the process at once. */
function untilStopped(): AbortSignal {
  const controller = new AbortController();
  const stop = () => controller.abort();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, stop);
  process.stdout.on('error', stop);
  return controller.signal;
}

void program();
