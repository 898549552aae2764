import type { Argv } from 'yargs';
import { Backoff, formatDuration, HoldfastError } from '../base/index.ts';
import type { GatewayClient, GatewayEvents } from '../client/index.ts';
import type { Config } from '../config/index.ts';
import { type QoS, topicFilterProblem } from '../domain/index.ts';
import { type CliDeps, exitCodes } from './deps.ts';
import {
  checkGatewayArgs,
  type Destination,
  destination,
  duration,
  type GatewayArgs,
  gatewayOptions,
  qos,
  text,
  withHint,
} from './gateway-options.ts';
import type { Common } from './main.ts';
import { jsonLine, plainLine } from './message-lines.ts';
import { UsageError } from './usage.ts';

export interface SubArgs extends Common, GatewayArgs {
  readonly filter: readonly string[];
  /** The command's name, and what stands behind `--`. */
  readonly _: readonly (string | number)[];
  readonly json: boolean;
  readonly qos: string | undefined;
  readonly count: number | undefined;
  /** Milliseconds. */
  readonly timeout: number | undefined;
}

/** Between attempts to connect again, milliseconds. */
const backoffBounds = { base: 1_000, cap: 15_000 };

export function addSubCommand(parser: Argv<Common>, commands: { subscribe(args: SubArgs): Promise<void> }): void {
  const { coerce, ...count } = text('count', 'End after that many messages');
  parser.command(
    'sub <filter..>',
    'Print messages as they come',
    (y) =>
      gatewayOptions(
        y
          .positional('filter', {
            type: 'string',
            array: true,
            demandOption: true,
            describe: 'Topics, + and # are wildcards',
          })
          .option('json', { type: 'boolean', default: false, describe: 'A JSON object a line, for programs' })
          .option('qos', qos('Quality of service, at most; over CoAP 0 is NON, 1 and 2 are CON'))
          .option('count', {
            ...count,
            coerce: (given: unknown) => {
              const whole = coerce(given);
              if (whole === undefined) return undefined;
              if (!/^[1-9]\d{0,14}$/.test(whole)) throw new UsageError('--count: expected a number from 1');
              return Number(whole);
            },
          })
          .option('timeout', duration('timeout', 'End after that long, e.g. 30s')),
      ).epilogue(
        [
          'Listens at the gateway that the configuration describes: the first of mqtt.listen, or of coap.listen.',
          'Prints `topic payload`, control characters escaped; --json has the bytes (base64 where they are no UTF-8). Over CoAP a message does not say its topic: the filter stands in its place.',
          'Exit code 0: --count is reached, or it was interrupted, or --timeout is over and something came. 1: --timeout is over before --count is reached, or nothing came; or it could not connect or subscribe. A connection that is lost later is tried again.',
        ].join('\n\n'),
      ),
    (args) => commands.subscribe(args),
  );
}

/** The exit code. @throws HoldfastError where it cannot begin, or go on; UsageError before anything is sent. */
export async function subscribe(args: SubArgs, deps: CliDeps, load: () => Config): Promise<number> {
  const filters = [...new Set([...args.filter, ...args._.slice(1).map(String)])];
  for (const filter of filters) {
    const problem = topicFilterProblem(filter);
    if (problem !== undefined) throw new UsageError(`a filter: ${problem}`);
  }
  checkGatewayArgs(args);
  const where = await destination(args, 'sub', deps, load);
  const listening = new Listening({ ...args, filter: filters }, where, deps);
  try {
    return await listening.run();
  } catch (thrown) {
    throw withHint(thrown, where);
  }
}

/** From the first connection to the end. */
class Listening {
  readonly #args: SubArgs;
  readonly #where: Destination;
  readonly #deps: CliDeps;
  #messages = 0;
  #over = false;
  #end: () => void = () => undefined;
  readonly #ended: Promise<void>;

  constructor(args: SubArgs, where: Destination, deps: CliDeps) {
    this.#args = args;
    this.#where = where;
    this.#deps = deps;
    this.#ended = new Promise((resolve) => {
      this.#end = () => {
        this.#over = true;
        resolve();
      };
    });
  }

  async run(): Promise<number> {
    const { clock, untilStopped } = this.#deps;
    const { timeout } = this.#args;
    const stopped = untilStopped();
    if (stopped.aborted) this.#end();
    stopped.addEventListener('abort', () => this.#end());
    let timedOut = false;
    const timer =
      timeout === undefined
        ? undefined
        : clock.after('end of the subscription', timeout, () => {
            timedOut = !this.#over;
            this.#end();
          });
    try {
      await this.#listen();
    } finally {
      timer?.cancel();
    }
    return timedOut ? this.#verdict() : exitCodes.fine;
  }

  async #listen(): Promise<void> {
    const { clock } = this.#deps;
    const backoff = new Backoff(backoffBounds);
    for (let first = true; !this.#over; first = false) {
      const began = clock.monotonic();
      const reason = await this.#connection(first);
      if (reason === undefined) return;
      if (clock.monotonic() - began > backoffBounds.cap) backoff.reset();
      this.#say(`${reason.message}; trying again`);
      await new Promise<void>((resolve) => {
        const timer = clock.after('reconnect', backoff.next(), resolve);
        void this.#ended.then(() => {
          timer.cancel();
          resolve();
        });
      });
    }
  }

  /** One connection to its end: why it ended, or undefined where the command ends. */
  async #connection(first: boolean): Promise<HoldfastError | undefined> {
    let lost: GatewayEvents['lost'] = () => undefined;
    const end = new Promise<HoldfastError>((resolve) => {
      lost = resolve;
    });
    const events: GatewayEvents = {
      received: (message) => {
        if (this.#over) return undefined;
        this.#messages += 1;
        const printed = this.#print(this.#args.json ? jsonLine(message, this.#deps.clock.wall()) : plainLine(message));
        if (this.#messages === this.#args.count) this.#end();
        return printed;
      },
      missed: (reason) => this.#say(`a message was missed: ${reason.message}`),
      lost,
    };
    const opening = this.#open(events, first);
    // who ends while it opens does not wait for it
    opening.then(
      (client) => (this.#over ? client.close() : undefined),
      () => undefined,
    );
    try {
      const client = await Promise.race([opening, this.#ended]);
      if (client === undefined) return undefined;
      const reason = await Promise.race([end, this.#ended]);
      if (reason instanceof HoldfastError) return reason;
      await client.close();
      return undefined;
    } catch (thrown) {
      if (first || !(thrown instanceof HoldfastError) || !thrown.transient) throw thrown;
      return thrown;
    }
  }

  async #open(events: GatewayEvents, first: boolean): Promise<GatewayClient> {
    const { filter, qos: level } = this.#args;
    const { target } = this.#where;
    const client = await this.#deps.connect(target, events);
    try {
      const refused = await client.subscribe(filter, Number(level ?? 1) as QoS);
      const lines = refused.map((one) => `${JSON.stringify(one.filter)}: ${one.reason}`);
      if (refused.length >= filter.length) throw new HoldfastError('access_denied', lines.join('; '));
      for (const line of lines) this.#say(line);
    } catch (thrown) {
      await client.close();
      throw thrown;
    }
    this.#say(`listening at ${target.url}${first ? '' : ' again'}`);
    return client;
  }

  /** Standard error is for people: it does not hold anything up. */
  #say(text: string): void {
    if (!this.#over) this.#deps.stderr.write(`holdfast: ${text}\n`);
  }

  #print(line: string): Promise<void> | undefined {
    const { stdout } = this.#deps;
    if (stdout.write(line) !== false) return undefined;
    return new Promise((resolve) => void stdout.once?.('drain', resolve));
  }

  /** After `--timeout`. */
  #verdict(): number {
    const { count, timeout = 0 } = this.#args;
    const short = count === undefined ? this.#messages === 0 : this.#messages < count;
    if (!short) return exitCodes.fine;
    const came = count === undefined ? 'no message' : `${this.#messages} of ${count} messages`;
    this.#deps.stderr.write(`holdfast: ${came} within ${formatDuration(timeout)}\n`);
    return exitCodes.failed;
  }
}
