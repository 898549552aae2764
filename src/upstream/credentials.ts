import { readFile } from 'node:fs/promises';
import { HoldfastError, reasonOf } from '../base/index.ts';
import type { LinkTarget } from './link.ts';
import type { UpstreamOptions } from './options.ts';

export type Credentials = Pick<LinkTarget, 'username' | 'password' | 'ca' | 'cert' | 'key'>;

/**
 * What proves who we are, read anew for each attempt so that rotated files are picked up. User information in the URL
 * serves where the options give none.
 * @throws HoldfastError `unavailable` naming the file that cannot be read.
 */
export async function readCredentials(options: UpstreamOptions, url: string): Promise<Credentials> {
  const [passwordFile, ca, cert, key] = await Promise.all(
    [options.passwordFile, options.caFile, options.certFile, options.keyFile].map(read),
  );
  const { username, password } = new URL(url);
  const own = passwordFile?.toString('utf8').replace(/\r?\n$/, '') ?? options.password;
  return {
    username: options.username ?? (username === '' ? undefined : decodeURIComponent(username)),
    password: own ?? (password === '' ? undefined : decodeURIComponent(password)),
    ca,
    cert,
    key,
  };
}

async function read(path: string | undefined): Promise<Buffer | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path);
  } catch (thrown) {
    throw new HoldfastError('unavailable', `cannot read ${path}: ${reasonOf(thrown)}`, { cause: thrown });
  }
}

/** A broker's URL as it may be shown: without user information. */
export function shownUrl(url: string): string {
  return url.replace(/\/\/[^/@]*@/, '//');
}
