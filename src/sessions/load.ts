import type { QoS } from '../domain/index.ts';
import type { Store } from '../log/index.ts';
import { decodeContent, prefix, readClientKey, unseal } from './codec.ts';
import type { KeptClients } from './kept-clients.ts';
import type { KeptObservers } from './kept-observers.ts';
import type { WillRow } from './rows.ts';
import type { LastUse } from './session.ts';
import type { Sessions } from './sessions.ts';

interface Entry {
  readonly clientId: string;
  readonly rest: Buffer;
  readonly value: Buffer;
}

/**
 * Reads everything that the disk has.
 * @returns the watermark, where there is one, which entries were damaged and are lost, and whose they were as far as that
 * can be told. `format`: the store's.
 */
export async function load(
  store: Store,
  sessions: Sessions,
  kept: KeptClients,
  observers: KeptObservers,
  format: number,
): Promise<{
  readonly watermark: bigint | undefined;
  readonly damaged: readonly Buffer[];
  readonly clients: ReadonlySet<string>;
}> {
  const damaged: Buffer[] = [];
  const clients = new Set<string>();
  const each = async (kind: string, take: (entry: Entry) => boolean): Promise<void> => {
    for await (const [key, sealed] of store.entries(rangeOf(kind))) {
      const value = unseal(key, sealed, format);
      const ofAll = kind === prefix.content || kind === prefix.watermark || kind === prefix.owedFrom;
      const of = ofAll ? { clientId: '', rest: key.subarray(1) } : readClientKey(key);
      if (value !== undefined && of !== undefined && take({ ...of, value })) continue;
      damaged.push(key);
      if (of !== undefined && of.clientId !== '') clients.add(of.clientId);
    }
  };
  await each(prefix.session, ({ clientId, value }) => {
    const lastUse = readLastUse(value);
    if (lastUse !== undefined) sessions.restore(clientId, lastUse);
    return lastUse !== undefined;
  });
  // a session whose own entry is damaged still has what else is on the disk
  const sessionOf = (clientId: string) =>
    sessions.get(clientId) ?? sessions.restore(clientId, { wall: 0, synced: false, online: true });
  await each(prefix.subscription, ({ clientId, rest, value }) => {
    const [qos, due] = value;
    if (qos === undefined || qos > 2) return false;
    sessions.restoreSubscription(sessionOf(clientId), rest.toString(), qos as QoS, due === 1);
    return true;
  });
  await each(prefix.incoming, ({ clientId, rest }) => {
    if (rest.length !== 2) return false;
    sessions.restoreIncoming(sessionOf(clientId), rest.readUInt16BE());
    return true;
  });
  await each(prefix.content, ({ rest, value }) => {
    const content = rest.length === 8 ? decodeContent(rest.readBigUInt64BE(), value) : undefined;
    if (content !== undefined) sessions.queues.restoreContent(content);
    return content !== undefined;
  });
  await each(prefix.queued, ({ clientId, rest, value }) => {
    const [qos, released] = value;
    if (rest.length !== 8 || value.length !== 4 || (qos !== 1 && qos !== 2)) return false;
    const messageId = value.readUInt16BE(2);
    sessions.queues.restoreEntry(sessionOf(clientId), rest.readBigUInt64BE(), qos, released === 1, messageId);
    return true;
  });
  sessions.queues.restored();
  await each(prefix.will, ({ clientId, value }) => {
    const will = readWill(value);
    if (will !== undefined) sessions.restoreWill(clientId, will);
    return will !== undefined;
  });
  await each(prefix.kept, ({ clientId, value }) => {
    kept.restore(clientId, value.toString());
    return true;
  });
  await each(prefix.observer, ({ clientId: name, value }) => {
    observers.restore(name, value.toString());
    return true;
  });
  await each(prefix.owedFrom, ({ value }) => {
    if (value.length === 8) kept.restoreAt(value.readBigUInt64BE());
    return value.length === 8;
  });
  let watermark: bigint | undefined;
  await each(prefix.watermark, ({ value }) => {
    if (value.length === 8) watermark = value.readBigUInt64BE();
    return value.length === 8;
  });
  if (watermark !== undefined) kept.restoredBy(watermark);
  return { watermark, damaged, clients };
}

function rangeOf(kind: string): { gte: Buffer; lt: Buffer } {
  const lt = Buffer.from(kind);
  lt.writeUInt8(lt.readUInt8(0) + 1, 0);
  return { gte: Buffer.from(kind), lt };
}

function parse(value: Buffer): Partial<Record<string, unknown>> {
  const parsed: unknown = JSON.parse(value.toString());
  return typeof parsed === 'object' && parsed !== null ? { ...parsed } : {};
}

function readLastUse(value: Buffer): LastUse | undefined {
  const { wall, synced, online } = parse(value);
  return typeof wall === 'number' ? { wall, synced: synced === true, online: online === true } : undefined;
}

function readWill(value: Buffer): WillRow['will'] | undefined {
  const { topic, payload, qos, retain, username } = parse(value);
  if (typeof topic !== 'string' || typeof payload !== 'string' || typeof username !== 'string') return undefined;
  if (qos !== 0 && qos !== 1 && qos !== 2) return undefined;
  return { topic, payload: Buffer.from(payload, 'base64'), qos, retain: retain === true, username };
}
