import type { Argv } from 'yargs';
import { formatDuration, formatSize, HoldfastError } from '../base/index.ts';
import type { GatewayClient } from '../client/index.ts';
import type { Config } from '../config/index.ts';
import { type QoS, topicNameProblem } from '../domain/index.ts';
import type { CliDeps } from './deps.ts';
import {
  checkGatewayArgs,
  type Destination,
  destination,
  duration,
  type GatewayArgs,
  gatewayOptions,
  qos,
  withHint,
} from './gateway-options.ts';
import type { Common } from './main.ts';
import { UsageError } from './usage.ts';

export interface PubArgs extends Common, GatewayArgs {
  readonly topic: string;
  readonly payload: string | undefined;
  /** The command's name, and what stands behind `--`. */
  readonly _: readonly (string | number)[];
  readonly qos: string | undefined;
  readonly retain: boolean;
  /** Milliseconds. */
  readonly timeout: number | undefined;
}

const defaultTimeout = 30_000;
/** What MQTT can carry (§2.2.3). */
const maxPayload = 268_435_455;
const nothing = { received: () => undefined, missed: () => undefined, lost: () => undefined };

export function addPubCommand(parser: Argv<Common>, commands: { publish(args: PubArgs): Promise<void> }): void {
  parser.command(
    'pub <topic> [payload]',
    'Publish a message, as a device would',
    (y) =>
      gatewayOptions(
        y
          .positional('topic', { type: 'string', demandOption: true, describe: 'Where to; no wildcards' })
          .positional('payload', { type: 'string', describe: 'Default: standard input as a whole, bytes as they are' })
          .option('qos', qos('Quality of service'))
          .option('retain', { type: 'boolean', default: false, describe: 'Keep it for who subscribes later' })
          .option('timeout', duration('timeout', 'Longest wait for the acknowledgement (default 30s)')),
      ).epilogue(
        'Goes to the gateway that the configuration describes: the first of mqtt.listen, or of coap.listen.\n' +
          'Exit code 0: the gateway has acknowledged the message (QoS 0 over MQTT: it was sent). 1: it has not.\n' +
          'A payload that begins with - goes behind --: holdfast pub a/b -- -5',
      ),
    (args) => commands.publish(args),
  );
}

/** @throws HoldfastError unless the gateway has acknowledged the message; UsageError before anything is sent. */
export async function publish(args: PubArgs, deps: CliDeps, load: () => Config): Promise<void> {
  const problem = topicNameProblem(args.topic);
  if (problem !== undefined) throw new UsageError(`the topic: ${problem}`);
  checkGatewayArgs(args);
  const [given, ...more] = [...(args.payload === undefined ? [] : [args.payload]), ...args._.slice(1).map(String)];
  if (more.length > 0) throw new UsageError('more than one payload: one with spaces in it is quoted');
  if (given === undefined && args.username !== undefined && args.passwordFile === undefined) {
    throw new UsageError('with the payload from standard input the password comes from --password-file');
  }
  const where = await destination(args, 'pub', deps, load);
  const payload = given === undefined ? await readAll(deps) : Buffer.from(given);
  try {
    await sent(args, payload, where, deps);
  } catch (thrown) {
    throw withHint(explained(thrown, payload, where), where);
  }
  checkRules(args, where, deps);
}

async function sent(args: PubArgs, payload: Buffer, { target }: Destination, deps: CliDeps): Promise<void> {
  const { topic, retain, timeout = defaultTimeout } = args;
  let client: GatewayClient | undefined;
  let late = false;
  const work = async () => {
    const connected = await deps.connect(target, nothing);
    client = connected;
    if (late) return connected.close();
    await connected.publish({ topic, payload, qos: Number(args.qos ?? 1) as QoS, retain });
  };
  const working = work();
  try {
    await new Promise<void>((resolve, reject) => {
      const timer = deps.clock.after('acknowledgement', timeout, () => {
        late = true;
        reject(
          new HoldfastError('unavailable', `no acknowledgement from ${target.url} within ${formatDuration(timeout)}`),
        );
      });
      working.then(resolve, reject).finally(() => timer.cancel());
    });
  } finally {
    await client?.close();
  }
}

async function readAll({ stdin, stderr }: CliDeps): Promise<Buffer> {
  if (stdin.isTTY === true) stderr.write('The payload is what you type now; Ctrl-D ends it.\n');
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stdin) {
    chunks.push(Buffer.from(chunk as Uint8Array));
    length += chunk.length;
    if (length > maxPayload)
      throw new HoldfastError('payload_too_large', `the payload is larger than ${maxPayload} bytes`);
  }
  return Buffer.concat(chunks);
}

/** MQTT 3.1.1 closes the connection without a word over what cannot be taken; the configuration and the daemon know more. */
function explained(thrown: unknown, payload: Buffer, { config }: Destination): unknown {
  if (!(thrown instanceof HoldfastError) || config === undefined) return thrown;
  const { code, message } = thrown;
  const closed = message.includes('without an acknowledgement');
  const limit = config.limits.payload;
  if (payload.length > limit && (closed || code === 'payload_too_large')) {
    return new HoldfastError(
      'payload_too_large',
      `the payload has ${payload.length} bytes, and limits.payload is ${formatSize(limit)}: ${message}`,
    );
  }
  return closed ? new HoldfastError(code, `${message}; \`holdfast status\` and the log may say why`) : thrown;
}

/**
 * A gateway of MQTT 3.1.1 acknowledges what its access rules refuse, and drops it (§3.3.5). An acknowledgement is only
 * good where the rules allow the message. With a certificate it is the gateway that says who we are.
 */
function checkRules({ topic, cert }: PubArgs, { config, target }: Destination, deps: CliDeps): void {
  const { url, username = '', clientId } = target;
  if (config === undefined || url.startsWith('coap:') || cert !== undefined) return;
  if (deps.mayPublish(config, { username, clientId }, topic)) return;
  const who = username === '' ? 'who does not log in' : username;
  throw new HoldfastError(
    'access_denied',
    `not authorised: auth.acl does not let ${who} publish to this topic. Over MQTT the gateway acknowledges such a message and drops it`,
  );
}
