import type { Clock } from '../base/index.ts';
import type { GatewayClient, GatewayEvents, GatewayTarget } from '../client/index.ts';
import type { Config, LoadResult } from '../config/index.ts';

/** What a command prints to; where `write` gives false, `drain` says when it takes more. */
export interface Output {
  write(text: string): unknown;
  once?(event: 'drain', listener: () => void): unknown;
}

/** What a password is read from; `isTTY` and `setRawMode` as of a terminal. */
export interface Input extends AsyncIterable<string | Uint8Array> {
  readonly isTTY?: boolean;
  setRawMode?(raw: boolean): unknown;
}

/** The users file, as far as the command line changes it. */
export interface Users {
  add(name: string, password: string): Promise<void>;
  remove(name: string): Promise<void>;
  list(): Promise<readonly string[]>;
  setPassword(name: string, password: string): Promise<void>;
}

/** The file of pre-shared keys, as far as the command line changes it. */
export interface Psks {
  /** The key in hexadecimal; made up where `hex` is undefined. */
  add(identity: string, hex?: string): Promise<string>;
  remove(identity: string): Promise<void>;
  list(): Promise<readonly string[]>;
}

/** The world as the command line sees it. */
export interface CliDeps {
  /** Runs the daemon to its end and gives the exit code. `load` reads the configuration again. */
  run(config: Config, load: () => LoadResult): Promise<number>;
  /** Asks the daemon on the configuration's state directory; undefined where none answers. */
  ask(config: Config, request: 'status' | 'reload_users'): Promise<unknown>;
  users(path: string): Users;
  psks(path: string): Psks;
  identity(config: Config): Promise<{ readonly appClientId: string; readonly appClientSecret: string }>;
  connect(target: GatewayTarget, events: GatewayEvents): Promise<GatewayClient>;
  /** Whether the access rules of that configuration let that user publish to a topic. */
  mayPublish(config: Config, who: { readonly username: string; readonly clientId: string }, topic: string): boolean;
  /** From here on: aborted when the process is told to stop, or nobody reads standard output any more. */
  untilStopped(): AbortSignal;
  readonly clock: Clock;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly stdin: Input;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly version: string;
}

export const exitCodes = { fine: 0, failed: 1, usage: 2, configuration: 78 } as const;
