import { isIPv6 } from 'node:net';
import type { Clock } from '../base/index.ts';

export interface ThrottleOptions {
  /** Failures within the window that cost nothing. */
  readonly free: number;
  /** Failures are forgotten after this long without another one, milliseconds. */
  readonly window: number;
  /** The first wait, which doubles with each failure up to `cap`; milliseconds. */
  readonly first: number;
  readonly cap: number;
  /** Attempts of one address that may wait at once. */
  readonly held: number;
  /** Addresses that are remembered; the one not seen for longest goes first. */
  readonly addresses: number;
  /** User names that are remembered per address. */
  readonly names: number;
}

export const defaultThrottle: ThrottleOptions = {
  free: 5,
  window: 600_000,
  first: 250,
  cap: 3_000,
  held: 3,
  addresses: 10_000,
  names: 64,
};

interface Failures {
  count: number;
  last: number;
  /** When the latest attempt that waits may go on. */
  next: number;
}

interface Address extends Failures {
  /** Who logged in from here before, each with failures of its own. */
  readonly names: Map<string, Failures>;
}

/**
 * Slows down attempts with wrong credentials, per address (IPv6: per /64). After a few failures each further attempt has
 * to wait, longer with each failure up to a cap; waiting attempts go one after the other, and beyond a bound they are
 * refused at once.
 *
 * Who shares an address with a guesser is not locked out: a user name that has logged in from there before is counted by
 * itself, so that the failures of others cost it nothing; one that logs in there for the first time waits its turn. A
 * success does not take failures back: a guesser with one account of its own could go on for ever.
 *
 * State and a clock, no timers: the caller waits.
 */
export class LoginThrottle {
  readonly #clock: Clock;
  readonly #options: ThrottleOptions;
  readonly #addresses = new Map<string, Address>();

  constructor(clock: Clock, options: ThrottleOptions = defaultThrottle) {
    this.#clock = clock;
    this.#options = options;
  }

  /** Addresses remembered. */
  get size(): number {
    return this.#addresses.size;
  }

  /**
   * Milliseconds to wait before this attempt is checked or, where that tells a guesser nothing, before it is answered;
   * `refuse` where too many wait already. `name`: the user name that it is for, or empty.
   */
  delayFor(address: string, name = ''): number | 'refuse' {
    const remembered = this.#addresses.get(networkOf(address));
    const failures = remembered?.names.get(name) ?? remembered;
    if (failures === undefined) return 0;
    const { free, window, first, cap, held } = this.#options;
    const now = this.#clock.monotonic();
    if (now - failures.last > window) failures.count = 0;
    if (failures.count < free) return 0;
    const step = Math.min(cap, first * 2 ** Math.min(30, failures.count - free));
    const at = Math.max(now, failures.next) + step;
    if (at - now > held * step) return 'refuse';
    failures.next = at;
    return at - now;
  }

  /** An attempt was wrong. */
  failed(address: string, name = ''): void {
    const found = this.#remember(address);
    const failures = found.names.get(name) ?? found;
    const now = this.#clock.monotonic();
    if (now - failures.last > this.#options.window) failures.count = 0;
    failures.count += 1;
    failures.last = now;
  }

  /** A user logged in. */
  succeeded(address: string, name: string): void {
    if (name === '') return;
    const { names } = this.#remember(address);
    const failures = names.get(name) ?? fresh();
    names.delete(name);
    names.set(name, failures);
    if (names.size > this.#options.names) dropFirst(names);
  }

  #remember(address: string): Address {
    const key = networkOf(address);
    const found = this.#addresses.get(key) ?? { ...fresh(), names: new Map<string, Failures>() };
    this.#addresses.delete(key);
    this.#addresses.set(key, found);
    if (this.#addresses.size > this.#options.addresses) dropFirst(this.#addresses);
    return found;
  }
}

function fresh(): Failures {
  return { count: 0, last: Number.NEGATIVE_INFINITY, next: Number.NEGATIVE_INFINITY };
}

function dropFirst(map: Map<string, unknown>): void {
  const first = map.keys().next();
  if (first.done !== true) map.delete(first.value);
}

/** What is slowed down together: an IPv4 address, the first 64 bits of an IPv6 one. */
export function networkOf(address: string): string {
  const bare = address.replace(/%.*$/, '');
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(bare)?.[1];
  if (mapped !== undefined) return mapped;
  if (!isIPv6(bare)) return bare;
  const [head = '', tail] = bare.toLowerCase().split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const gap = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  const groups = [...left, ...Array.from({ length: gap }, () => '0'), ...right];
  return `${groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`;
}
