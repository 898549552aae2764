import { randomBytes, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, reasonOf, replaceFile } from '../base/index.ts';

/** Who this gateway is: made up once, kept for the life of its data. */
export interface Identity {
  /** The AppID in `deviceID@AppID`. */
  readonly appId: string;
  readonly applicationUuid: string;
  readonly appClientId: string;
  readonly appClientSecret: string;
  /** Part of every message id that leaves the gateway. */
  readonly gatewayId: string;
}

const keys = ['appId', 'applicationUuid', 'appClientId', 'appClientSecret', 'gatewayId'] as const;

/**
 * Reads `identity.json` in `stateDir`, or makes one (0600, fsynced). A configured AppID takes the place of the one there.
 * @throws HoldfastError `start_failed` where the file is there and cannot be used: a new identity would orphan its data.
 */
export async function loadIdentity(stateDir: string, configuredAppId: string | undefined): Promise<Identity> {
  const path = join(stateDir, 'identity.json');
  const found = await readIdentity(path);
  const identity: Identity = found ?? {
    appId: configuredAppId ?? randomBytes(3).toString('hex'),
    applicationUuid: randomUUID(),
    appClientId: randomBytes(12).toString('base64url'),
    appClientSecret: randomBytes(24).toString('base64url'),
    gatewayId: randomBytes(6).toString('hex'),
  };
  const wanted = configuredAppId === undefined ? identity : { ...identity, appId: configuredAppId };
  if (found === undefined || wanted.appId !== found.appId)
    await replaceFile(path, `${JSON.stringify(wanted, null, 2)}\n`);
  return wanted;
}

async function readIdentity(path: string): Promise<Identity | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return undefined;
    throw new HoldfastError('start_failed', `cannot read ${path}: ${reasonOf(thrown)}`, { cause: thrown });
  }
  try {
    const value: unknown = JSON.parse(text);
    if (
      typeof value === 'object' &&
      value !== null &&
      keys.every((key) => typeof Reflect.get(value, key) === 'string')
    ) {
      return value as Identity;
    }
  } catch {
    // told below: a syntax error quotes the text, which holds a secret
  }
  throw new HoldfastError(
    'start_failed',
    `${path} is damaged: expected JSON with ${keys.join(', ')}. Put a copy back, or delete it to start as a new gateway`,
  );
}
