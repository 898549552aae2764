import yargs, { type Argv } from 'yargs';
import { HoldfastError, reasonOf } from '../base/index.ts';
import {
  type Config,
  exampleConfig,
  formatProblem,
  type LoadResult,
  loadConfig,
  printConfig,
} from '../config/index.ts';
import { type CliDeps, exitCodes } from './deps.ts';
import { readPassword } from './password.ts';
import { addPskCommands } from './psk.ts';
import { addPubCommand, type PubArgs, publish } from './pub.ts';
import { formatStatus } from './status.ts';
import { addSubCommand, type SubArgs, subscribe } from './sub.ts';
import { UsageError } from './usage.ts';

export interface Common {
  readonly config: string | undefined;
  readonly set: readonly string[];
}

/** A configuration that cannot be used; its problems. */
class BadConfiguration extends Error {
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super('the configuration cannot be used');
    this.problems = problems;
  }
}

/** Runs the command in `argv` (without node and script) and gives the exit code: 0 fine, 1 failed, 2 usage, 78 configuration. */
export async function main(argv: readonly string[], deps: CliDeps): Promise<number> {
  const commands = new Commands(deps);
  try {
    const parser = parserOf(argv, commands);
    let shown = '';
    await parser.parseAsync([...argv], {}, (_error, _args, output) => {
      shown = output;
    });
    // --help
    if (shown !== '') deps.stdout.write(`${shown}\n`);
    return commands.code;
  } catch (thrown) {
    if (thrown instanceof BadConfiguration) {
      for (const problem of thrown.problems) deps.stderr.write(`${problem}\n`);
      return exitCodes.configuration;
    }
    deps.stderr.write(`holdfast: ${reasonOf(thrown)}\n`);
    if (thrown instanceof UsageError) {
      deps.stderr.write('Try `holdfast --help`.\n');
      return exitCodes.usage;
    }
    return thrown instanceof HoldfastError && thrown.code === 'bad_configuration'
      ? exitCodes.configuration
      : exitCodes.failed;
  }
}

function parserOf(argv: readonly string[], commands: Commands): Argv<Common> {
  const name = (y: Argv<Common>) => y.positional('name', { type: 'string', demandOption: true, describe: 'User name' });
  const parser = yargs([...argv])
    .scriptName('holdfast')
    .usage('$0 <command>\n\nEdge gateway: CoAP and MQTT in, one durable log, MQTT out.')
    .parserConfiguration({ 'boolean-negation': false, 'parse-numbers': false, 'parse-positional-numbers': false })
    .option('config', {
      type: 'string',
      requiresArg: true,
      describe: 'Configuration file (default /etc/holdfast/holdfast.toml)',
      coerce: (given: unknown) => {
        if (Array.isArray(given)) throw new UsageError('--config is there twice');
        return given as string | undefined;
      },
    })
    .option('set', {
      type: 'string',
      array: true,
      nargs: 1,
      default: [] as string[],
      describe: 'key=value over the file and the environment, e.g. --set log.level=debug; may be repeated',
    })
    .command(
      'run',
      'Run the daemon',
      (y) => y,
      (args) => commands.run(args),
    )
    .command(
      'check-config',
      'Say what is wrong with the configuration',
      (y) => y,
      (args) => commands.checkConfig(args),
    )
    .command(
      'print-config',
      'Print the effective configuration, secrets hidden',
      (y) => y.option('example', { type: 'boolean', default: false, describe: 'The commented sample file instead' }),
      (args) => commands.printConfig(args, args.example),
    )
    .command(
      'status',
      'Say what is connected, queued and wrong',
      (y) => y.option('json', { type: 'boolean', default: false, describe: 'For programs' }),
      (args) => commands.status(args, args.json),
    )
    .command('user', 'Manage who may log in', (y) =>
      y
        .command('add <name>', 'Add a user; the password from a prompt or standard input', name, (args) =>
          commands.setUser(args, 'add', args.name),
        )
        .command('remove <name>', 'Remove a user', name, (args) => commands.removeUser(args, args.name))
        .command(
          'list',
          'List the users',
          (y) => y,
          (args) => commands.listUsers(args),
        )
        .command('password <name>', 'Change a password', name, (args) =>
          commands.setUser(args, 'setPassword', args.name),
        )
        .demandCommand(1, 'expected add, remove, list or password'),
    )
    .command(
      'credentials',
      'Print appClientId and appClientSecret of the REST API',
      (y) => y,
      (args) => commands.credentials(args),
    )
    .command(
      'version',
      'Print the version',
      (y) => y,
      () => commands.version(),
    )
    .demandCommand(1, 'expected a command');
  for (const add of [addPskCommands, addPubCommand, addSubCommand]) add(parser, commands);
  return parser
    .strict()
    .version(false)
    .help()
    .wrap(100)
    .exitProcess(false)
    .fail((message, error) => {
      // yargs has errors of its own for some of what it does not like
      throw error === undefined || error === null || error.name === 'YError'
        ? new UsageError(message ?? error?.message)
        : error;
    });
}

class Commands {
  code: number = exitCodes.fine;
  readonly #deps: CliDeps;

  constructor(deps: CliDeps) {
    this.#deps = deps;
  }

  #load(args: Common, usersToCome: boolean): LoadResult {
    const { env, cwd } = this.#deps;
    return loadConfig({ file: args.config, set: args.set, env, cwd, usersToCome });
  }

  /** `usersToCome`: for commands that open no listener. */
  #config(args: Common, usersToCome = false): Config {
    const loaded = this.#load(args, usersToCome);
    if (!loaded.ok) throw new BadConfiguration(loaded.problems.map(formatProblem));
    return loaded.config;
  }

  async run(args: Common): Promise<void> {
    this.code = await this.#deps.run(this.#config(args), () => this.#load(args, false));
  }

  checkConfig(args: Common): void {
    this.#config(args);
    this.#deps.stdout.write('The configuration is fine.\n');
  }

  printConfig(args: Common, example: boolean): void {
    this.#deps.stdout.write(example ? exampleConfig() : printConfig(this.#config(args)));
  }

  async status(args: Common, json: boolean): Promise<void> {
    const config = this.#config(args, true);
    const answer = await this.#deps.ask(config, 'status');
    if (typeof answer !== 'object' || answer === null) {
      throw new HoldfastError(
        'unavailable',
        `no daemon answers on ${config.stateDir}: it is not running, or not yours. Start it with \`holdfast run\`, or \`systemctl start holdfast\``,
      );
    }
    if ('error' in answer) throw new HoldfastError('unavailable', `the daemon answered: ${String(answer.error)}`);
    this.#deps.stdout.write(json ? `${JSON.stringify(answer, undefined, 2)}\n` : formatStatus(answer));
  }

  async setUser(args: Common, how: 'add' | 'setPassword', name: string): Promise<void> {
    const config = this.#config(args, true);
    const password = await readPassword(this.#deps.stdin, this.#deps.stderr);
    await this.#deps.users(config.auth.usersFile)[how](name, password);
    await this.#told(config, how === 'add' ? `User ${name} was added.` : `The password of ${name} was changed.`);
  }

  async removeUser(args: Common, name: string): Promise<void> {
    const config = this.#config(args, true);
    await this.#deps.users(config.auth.usersFile).remove(name);
    await this.#told(config, `User ${name} was removed.`);
  }

  /** The change is on disk; a running daemon reads it now, another one at its start. */
  async #told(config: Config, text: string): Promise<void> {
    this.#deps.stdout.write(`${text}\n`);
    const answer = await this.#deps.ask(config, 'reload_users');
    if (typeof answer === 'object' && answer !== null && 'error' in answer) {
      throw new HoldfastError('unavailable', `the daemon did not take it: ${String(answer.error)}`);
    }
  }

  async listUsers(args: Common): Promise<void> {
    const users = await this.#deps.users(this.#config(args, true).auth.usersFile).list();
    this.#deps.stdout.write(users.map((user) => `${user}\n`).join(''));
  }

  async addPsk(args: Common, identity: string, generate: boolean): Promise<void> {
    const config = this.#config(args, true);
    const hex = generate ? undefined : await readPassword(this.#deps.stdin, this.#deps.stderr, 'key');
    const key = await this.#deps.psks(config.auth.pskFile).add(identity, hex);
    if (generate) this.#deps.stdout.write(`Key of ${identity}, shown this once: ${key}\n`);
    await this.#told(config, `Identity ${identity} was added.`);
  }

  async removePsk(args: Common, identity: string): Promise<void> {
    const config = this.#config(args, true);
    await this.#deps.psks(config.auth.pskFile).remove(identity);
    await this.#told(config, `Identity ${identity} was removed.`);
  }

  async listPsks(args: Common): Promise<void> {
    const identities = await this.#deps.psks(this.#config(args, true).auth.pskFile).list();
    this.#deps.stdout.write(identities.map((one) => `${one}\n`).join(''));
  }

  async credentials(args: Common): Promise<void> {
    const { appClientId, appClientSecret } = await this.#deps.identity(this.#config(args, true));
    this.#deps.stdout.write(`appClientId     ${appClientId}\nappClientSecret ${appClientSecret}\n`);
  }

  publish(args: PubArgs): Promise<void> {
    return publish(args, this.#deps, () => this.#config(args, true));
  }

  async subscribe(args: SubArgs): Promise<void> {
    this.code = await subscribe(args, this.#deps, () => this.#config(args, true));
  }

  version(): void {
    this.#deps.stdout.write(`${this.#deps.version}\n`);
  }
}
