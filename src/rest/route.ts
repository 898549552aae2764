import type { Clock, HoldfastError } from '../base/index.ts';
import type { LoginThrottle, PasswordCheck, TokenStore } from '../connections/index.ts';
import type { Message } from '../domain/index.ts';
import type { Presence, Queries } from './queries.ts';
import { bad } from './refusal.ts';
import type { ZonedTime } from './zoned-time.ts';

/** Where messages go in: all of them are stored, or none. */
export interface Publisher {
  publishTogether(
    messages: readonly Message[],
    done: (error: HoldfastError | undefined, ids: readonly bigint[]) => void,
  ): void;
}

/** Who the gateway is to the API's users. */
export interface ApiIdentity {
  readonly appId: string;
  readonly applicationUuid: string;
  readonly appClientId: string;
  readonly appClientSecret: string;
}

/** What the endpoints work with. */
export interface Context {
  readonly queries: Queries;
  readonly presence: Presence;
  readonly publisher: Publisher;
  readonly tokens: Pick<TokenStore, 'createAppToken' | 'createUserToken' | 'createImToken' | 'isAppToken'>;
  readonly throttle: LoginThrottle;
  readonly passwords: PasswordCheck;
  readonly identity: ApiIdentity;
  readonly zone: ZonedTime;
  /** Bytes. */
  readonly maxPayload: number;
  readonly clock: Clock;
}

/** One request, as an endpoint needs it. */
export interface Caller {
  readonly address: string;
  readonly signal: AbortSignal;
}

/** What was given under the names of parameters: text in a query, any JSON value in a body; undefined where nothing was. */
export type Given = (name: string) => unknown;

/** A parameter's value, or the text that says what is wrong with it. */
export type Checked<Value> = { readonly value: Value } | { readonly wrong: string };

/** One parameter: how it is documented, and its whole check (missing, empty, malformed). */
export interface Parameter<Value = unknown> {
  readonly doc: string;
  readonly required: boolean;
  /** JSON Schema. */
  readonly schema: object;
  readonly example?: unknown;
  readonly aliases?: readonly string[];
  /** `given`: the others too, for a check that hangs on them; `before`: the values of those that come first. */
  check(value: unknown, context: CheckContext): Checked<Value>;
}

export interface CheckContext {
  readonly given: Given;
  readonly before: Readonly<Record<string, unknown>>;
  readonly appId: string;
  readonly zone: ZonedTime;
  readonly maxPayload: number;
}

/** In the order in which they are checked. */
export type Parameters = Readonly<Record<string, Parameter>>;
export type Values<Of extends Parameters> = {
  readonly [Name in keyof Of]: Of[Name] extends Parameter<infer Value> ? Value : never;
};

/** A body whose rows are read as they are sent: `{ …before, [rows]: [ … ] }`. */
export class RowStream {
  readonly before: object;
  readonly name: string;
  readonly rows: AsyncIterable<object>;

  constructor(before: object, name: string, rows: AsyncIterable<object>) {
    this.before = before;
    this.name = name;
    this.rows = rows;
  }
}

/** One endpoint: dispatch, checks and `/openapi.json` come from it. */
export interface Route {
  readonly id: string;
  readonly method: 'GET' | 'POST';
  readonly paths: readonly string[];
  readonly summary: string;
  /** Whether it asks for an application token. */
  readonly authorized: boolean;
  /** What bounds how many run at once. */
  readonly load: 'light' | 'query' | 'stream';
  readonly parameters: Parameters;
  /** JSON Schema of `body` in an answer. */
  readonly answer: object;
  /** Texts of its 400s. */
  readonly errors: readonly string[];
  run(given: Given, context: Context, caller: Caller): Promise<object>;
}

/** Ties an endpoint's parameters to what it does with their values. */
export function route<const Of extends Parameters>(
  table: Omit<Route, 'run' | 'parameters'> & {
    readonly parameters: Of;
    readonly handle: (values: Values<Of>, context: Context, caller: Caller) => Promise<object>;
  },
): Route {
  const { handle, ...rest } = table;
  return {
    ...rest,
    run: (given, context, caller) => handle(checkAll(table.parameters, given, context) as Values<Of>, context, caller),
  };
}

/** @throws Refusal 400 for the first parameter that is not as it should be. */
function checkAll(parameters: Parameters, given: Given, context: Context): Record<string, unknown> {
  const before: Record<string, unknown> = {};
  const { zone, maxPayload, identity } = context;
  for (const [name, parameter] of Object.entries(parameters)) {
    let value = given(name);
    for (const alias of parameter.aliases ?? []) value ??= given(alias);
    const checked = parameter.check(value, { given, before, appId: identity.appId, zone, maxPayload });
    if ('wrong' in checked) throw bad(checked.wrong);
    before[name] = checked.value;
  }
  return before;
}
