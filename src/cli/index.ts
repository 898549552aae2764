/**
 * The command line: words in, an exit code out (0 fine, 1 failed, 2 usage, 78 configuration).
 *
 * It knows the configuration and nothing of the parts: what runs the daemon, asks it, talks to it, or changes its files is
 * handed in as `CliDeps`. Results go to standard output, all else to standard error. A password is never an argument, since every
 * user of the machine can read those.
 *
 * `pub` and `sub` go to the gateway that the configuration describes, or to any other, over MQTT or CoAP. A line of `sub` is one
 * message, always: what could drive a terminal or end the line is escaped, also into a pipe, since those end at terminals;
 * `--json` has the exact bytes.
 */
export {
  type CliDeps,
  exitCodes,
  type Input,
  type Output,
  type Psks,
  type Users,
} from './deps.ts';
export { main } from './main.ts';
