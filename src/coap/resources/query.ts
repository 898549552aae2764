import { HoldfastError } from '../../base/index.ts';
import type { QoS } from '../../domain/index.ts';

/** The parameters of a request, by their long names. */
export interface QueryParameters {
  clientid?: string;
  username?: string;
  password?: string;
  token?: string;
  qos?: string;
  retain?: string;
  expiry?: string;
}

const names: Readonly<Record<string, keyof QueryParameters>> = {
  clientid: 'clientid',
  c: 'clientid',
  username: 'username',
  u: 'username',
  password: 'password',
  p: 'password',
  token: 'token',
  t: 'token',
  qos: 'qos',
  q: 'qos',
  retain: 'retain',
  r: 'retain',
  expiry: 'expiry',
};

/** Reads Uri-Query options; each splits at its first `=`. What is not known is left out; of two, the later counts. */
export function readQuery(options: readonly string[]): QueryParameters {
  const parameters: QueryParameters = {};
  for (const option of options) {
    const split = option.indexOf('=');
    const name = Object.hasOwn(names, split === -1 ? option : option.slice(0, split))
      ? names[split === -1 ? option : option.slice(0, split)]
      : undefined;
    if (name !== undefined) parameters[name] = split === -1 ? '' : option.slice(split + 1);
  }
  return parameters;
}

/** @throws HoldfastError `bad_request` with a text for the client. */
export function qosOf(value: string | undefined, fallback: QoS): QoS {
  switch (value) {
    case undefined:
      return fallback;
    case '0':
      return 0;
    case '1':
      return 1;
    case '2':
      return 2;
    default:
      throw new HoldfastError('bad_request', 'invalid qos: expected 0, 1 or 2');
  }
}

/** @throws HoldfastError `bad_request` with a text for the client. */
export function retainOf(value: string | undefined): boolean {
  if (value === undefined || value === 'false' || value === '0') return false;
  if (value === 'true' || value === '1') return true;
  throw new HoldfastError('bad_request', 'invalid retain: expected true, false, 1 or 0');
}

const maxExpiry = 0xffffffff;

/**
 * Seconds; 0 = never.
 * @throws HoldfastError `bad_request` with a text for the client.
 */
export function expiryOf(value: string | undefined): number {
  if (value === undefined) return 0;
  const seconds = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN;
  if (seconds <= maxExpiry) return seconds;
  throw new HoldfastError('bad_request', 'invalid expiry: expected seconds from 0 to 4294967295');
}
