import { join } from 'node:path';
import { HoldfastError } from '../../src/base/index.ts';
import { type CliDeps, type Input, main } from '../../src/cli/index.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** Standard input: what is typed or piped, piece by piece. */
export function input(chunks: readonly (string | Uint8Array)[], terminal = false): Input & { readonly raw: boolean[] } {
  const raw: boolean[] = [];
  return {
    raw,
    isTTY: terminal,
    setRawMode: (on) => raw.push(on),
    async *[Symbol.asyncIterator]() {
      yield* chunks;
    },
  };
}

/** Runs a command in a world that keeps what it is told. */
export async function runCommand(argv: readonly string[], cwd: string, more: Partial<CliDeps> = {}) {
  const told: string[] = [];
  let out = '';
  let err = '';
  const done = (what: string) => (name: string, password?: string) => {
    told.push([what, name, password].filter((one) => one !== undefined).join(' '));
    return Promise.resolve();
  };
  const code = await main(argv, {
    run: async (_config, load) => (load().ok ? 0 : 1),
    ask: async (_config, request) => {
      told.push(request);
      return undefined;
    },
    users: (path) => {
      told.push(path);
      return {
        add: done('add'),
        remove: done('remove'),
        setPassword: done('password'),
        list: async () => ['ann', 'bob'],
      };
    },
    psks: (path) => {
      told.push(path);
      return {
        add: async (identity, hex) => {
          told.push(`add ${identity} ${hex ?? 'generated'}`);
          return hex ?? 'abcd';
        },
        remove: done('remove'),
        list: async () => ['pump', 'valve'],
      };
    },
    identity: async () => ({ appClientId: 'id', appClientSecret: 'secret' }),
    connect: async (target) => {
      throw new HoldfastError('unavailable', `nobody listens at ${target.url}`);
    },
    mayPublish: () => true,
    untilStopped: () => new AbortController().signal,
    clock: new FakeClock(),
    stdout: { write: (text) => (out += text) },
    stderr: { write: (text) => (err += text) },
    stdin: input([]),
    env: { HOLDFAST_CONFIG: join(cwd, 'none.toml') },
    cwd,
    version: '1.2.3',
    ...more,
  });
  return { code, out, err, told };
}
