import type { Argv } from 'yargs';
import type { Common } from './main.ts';

/** What the commands do. */
export interface PskCommands {
  addPsk(args: Common, identity: string, generate: boolean): Promise<void>;
  removePsk(args: Common, identity: string): Promise<void>;
  listPsks(args: Common): Promise<void>;
}

/** `holdfast psk`. A key is never an argument, since every user of the machine can read those. */
export function addPskCommands(parser: Argv<Common>, commands: PskCommands): Argv<Common> {
  const named = (y: Argv<Common>) =>
    y.positional('identity', { type: 'string', demandOption: true, describe: 'The device’s identity, its user name' });
  return parser.command('psk', 'Manage the keys of devices that speak DTLS (coaps)', (y) =>
    y
      .command(
        'add <identity>',
        'Add a device; its key, in hexadecimal, from a prompt or standard input',
        (one) => named(one).option('generate', { type: 'boolean', default: false, describe: 'Make up a key, show it' }),
        (args) => commands.addPsk(args, args.identity, args.generate),
      )
      .command('remove <identity>', 'Remove a device, and end its sessions', named, (args) =>
        commands.removePsk(args, args.identity),
      )
      .command(
        'list',
        'List the identities',
        (one) => one,
        (args) => commands.listPsks(args),
      )
      .demandCommand(1, 'expected add, remove or list'),
  );
}
