import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Argv } from 'yargs';
import { HoldfastError, parseDuration, reasonOf } from '../base/index.ts';
import type { GatewayTarget } from '../client/index.ts';
import { type Config, gatewayUrlProblem } from '../config/index.ts';
import type { CliDeps } from './deps.ts';
import { ownUrl } from './own-gateway.ts';
import { readPassword } from './password.ts';
import { UsageError } from './usage.ts';

/** The options of `pub` and `sub` that say which gateway, and who asks. */
export interface GatewayArgs {
  readonly to: string | undefined;
  readonly coap: boolean;
  readonly username: string | undefined;
  readonly passwordFile: string | undefined;
  readonly clientId: string | undefined;
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

/** What is known of where it goes. */
export interface Destination {
  readonly target: GatewayTarget;
  /** Of our own gateway: undefined with `--to`. */
  readonly config: Config | undefined;
}

/** A text that may be given once. */
export const text = (name: string, describe: string) =>
  ({
    type: 'string',
    requiresArg: true,
    describe,
    coerce: (given: unknown) => {
      if (Array.isArray(given)) throw new UsageError(`--${name} is there twice`);
      return given as string | undefined;
    },
  }) as const;

/** A duration in milliseconds, given with its unit. */
export const duration = (name: string, describe: string) => {
  const { coerce, ...option } = text(name, describe);
  return {
    ...option,
    coerce: (given: unknown) => {
      const whole = coerce(given);
      if (whole === undefined) return undefined;
      const ms = parseDuration(whole);
      // what a timer can wait
      if (ms === undefined || ms <= 0 || ms >= 2 ** 31) {
        throw new UsageError(`--${name}: expected a duration such as "30s"`);
      }
      return ms;
    },
  } as const;
};

export const qos = (describe: string) =>
  ({ ...text('qos', describe), choices: ['0', '1', '2'], default: '1' }) as const;

export function gatewayOptions<T>(y: Argv<T>) {
  return y
    .option('to', text('to', 'Another gateway or broker: mqtt://, mqtts://, ws://, wss:// or coap://host:port'))
    .option('coap', { type: 'boolean', default: false, describe: 'Over CoAP, at the first of coap.listen' })
    .option('username', text('username', 'Log in with that name; the password from a prompt or standard input'))
    .option('password-file', text('password-file', 'File whose first line is the password'))
    .option('client-id', text('client-id', 'Default: made up'))
    .option('ca', text('ca', 'Certificates to trust, PEM, in place of those of the system'))
    .option('cert', text('cert', 'Client certificate, PEM, with --key'))
    .option('key', text('key', 'Its private key, PEM'));
}

/** @throws UsageError where the options make no sense together. */
export function checkGatewayArgs({ to, coap, username, passwordFile, clientId, cert, key }: GatewayArgs): void {
  if (to !== undefined) checkUrl(to);
  if (coap && to !== undefined && !to.startsWith('coap:'))
    throw new UsageError('--coap and --to contradict each other');
  if (username === undefined && passwordFile !== undefined) throw new UsageError('--password-file needs --username');
  if ((cert === undefined) !== (key === undefined)) throw new UsageError('--cert and --key belong together');
  for (const [name, value] of Object.entries({ username, 'client-id': clientId })) {
    if (value === '' || /\p{Cc}/u.test(value ?? ''))
      throw new UsageError(`--${name}: empty, or control characters in it`);
  }
}

/** What is wrong is said without the URL: a password may stand in it. */
function checkUrl(url: string): void {
  if (url.startsWith('coaps:')) {
    throw new UsageError('--to: coaps:// (DTLS) is not spoken by this command; use coap://, or mqtts://');
  }
  if (/^[a-z]+:\/\/[^/?#]*@/.test(url)) {
    throw new UsageError(
      '--to: no user and password in a URL, where every user of the machine can read them: --username',
    );
  }
  const problem = gatewayUrlProblem(url);
  if (problem !== undefined) throw new UsageError(`--to: ${problem}`);
}

/** `command`: part of the client id where none is given. */
export async function destination(
  args: GatewayArgs,
  command: string,
  deps: CliDeps,
  load: () => Config,
): Promise<Destination> {
  const read = (path: string) => readBytes(resolve(deps.cwd, path));
  const config = args.to === undefined ? load() : undefined;
  const url =
    args.to ?? (config === undefined ? '' : await ownUrl(config, args.coap, (one) => deps.ask(one, 'status')));
  const secure = url.startsWith('mqtts:') || url.startsWith('wss:');
  const ca = args.ca === undefined ? undefined : await read(args.ca);
  const pinned = secure && ca === undefined ? config?.mqtt.certFile : undefined;
  const login =
    args.username === undefined ? {} : { username: args.username, password: await passwordOf(args.passwordFile, deps) };
  return {
    config,
    target: {
      url,
      clientId: args.clientId ?? `holdfast-${command}-${randomBytes(4).toString('hex')}`,
      ...login,
      ...(ca === undefined ? {} : { ca }),
      ...(pinned === undefined ? {} : { pinned: await read(pinned) }),
      ...(args.cert === undefined || args.key === undefined
        ? {}
        : { certificate: { cert: await read(args.cert), key: await read(args.key) } }),
      ...(config === undefined ? {} : { coapMode: config.coap.mode }),
      heartbeat: config?.coap.heartbeat ?? 30_000,
      mqtt311: config !== undefined,
    },
  };
}

async function passwordOf(file: string | undefined, { cwd, stdin, stderr }: CliDeps): Promise<string> {
  if (file === undefined) return readPassword(stdin, stderr, 'password', { twice: false });
  const [line = ''] = (await readBytes(resolve(cwd, file))).toString('utf8').split(/\r?\n/, 1);
  if (line === '') throw new HoldfastError('bad_request', `no password in ${file}`);
  return line;
}

async function readBytes(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (thrown) {
    throw new HoldfastError('unavailable', `cannot read ${path}: ${reasonOf(thrown)}`, { cause: thrown });
  }
}

/** The error, with what to do about it where that is known. */
export function withHint(thrown: unknown, { target, config }: Destination): unknown {
  if (!(thrown instanceof HoldfastError)) return thrown;
  const { code, message } = thrown;
  if (config !== undefined && message.includes('nobody listens')) {
    return new HoldfastError(code, `${message}: the daemon is not running, or has another configuration`);
  }
  if (
    target.username === undefined &&
    /not.authori[sz]ed|401|4\.01/i.test(message) &&
    !message.includes('certificate')
  ) {
    return new HoldfastError(code, `${message}; who logs in gives --username NAME`);
  }
  return thrown;
}
