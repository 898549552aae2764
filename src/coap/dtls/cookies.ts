import { createHmac, timingSafeEqual } from 'node:crypto';
import type { HelloPrefix } from './client-hello.ts';

const lifetime = 60_000;
const cookieLength = 16;

/**
 * Stateless cookies, RFC 6347 §4.2.1: a keyed hash of the sender's address and of what its hello has up to the cookie.
 * A cookie shows that its holder receives at that address, for a minute or two: the key changes every minute, and the one
 * before is still taken.
 */
export class Cookies {
  readonly #random: (length: number) => Buffer;
  #key: Buffer;
  #former: Buffer;
  #since: number;

  constructor(random: (length: number) => Buffer, now: number) {
    this.#random = random;
    this.#key = random(32);
    this.#former = random(32);
    this.#since = now;
  }

  cookieFor(hello: HelloPrefix, address: string, port: number, now: number): Buffer {
    this.#rotate(now);
    return cookie(this.#key, hello, address, port);
  }

  valid(hello: HelloPrefix, address: string, port: number, now: number): boolean {
    if (hello.cookie.length !== cookieLength) return false;
    this.#rotate(now);
    return [this.#key, this.#former].some((key) => timingSafeEqual(cookie(key, hello, address, port), hello.cookie));
  }

  #rotate(now: number): void {
    const age = now - this.#since;
    if (age < lifetime) return;
    this.#former.fill(0);
    this.#former = age < 2 * lifetime ? this.#key : this.#random(32);
    this.#key = this.#random(32);
    this.#since = now;
  }
}

function cookie(key: Buffer, { version, random, sessionId }: HelloPrefix, address: string, port: number): Buffer {
  return createHmac('sha256', key)
    .update(`${address}|${port}|${version}|`)
    .update(random)
    .update(sessionId)
    .digest()
    .subarray(0, cookieLength);
}
