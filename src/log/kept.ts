import type { Clock } from '../base/index.ts';
import type { ClockQuality, Message, StoredMessage } from '../domain/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { ChunkWriter, type Correct, readChunk, readChunkHeader } from './chunk.ts';
import { stateKey } from './keys.ts';
import type { Store, Write } from './store.ts';

/** Keeps (`keep`) the message itself under `key` beside the log, or deletes what is there, in the same commit. */
export interface StateChange {
  readonly key: string;
  readonly keep: boolean;
}

/** What a change writes: a kept message is a chunk of one record. */
export function writeOfChange(
  change: StateChange,
  message: Message,
  id: bigint,
  { clock, quality }: { readonly clock: Clock; readonly quality: () => ClockQuality },
): Write {
  const key = stateKey(change.key);
  if (!change.keep) return { type: 'del', key };
  const single = new ChunkWriter();
  const now = clock.monotonic();
  single.add(message, now);
  return { type: 'put', key, value: single.take(id, now, clock.wall(), quality()).bytes };
}

/** The messages kept under keys that start with `prefix`, with the rest of their keys. */
export async function* readKept(
  store: Store,
  prefix: string,
  logger: Logger,
  correct: Correct,
): AsyncIterable<readonly [string, StoredMessage]> {
  const gte = stateKey(prefix);
  const lt = Buffer.concat([gte, Buffer.from([0xff])]);
  for await (const [key, value] of store.entries({ gte, lt })) {
    const header = value.length >= 16 ? readChunkHeader(value, value.readBigUInt64BE(8)) : undefined;
    const messages: StoredMessage[] = [];
    if (header !== undefined) readChunk(value, correct(header), 0n, messages);
    const name = key.toString('utf8', 1 + Buffer.byteLength(prefix));
    if (messages[0] !== undefined) yield [name, messages[0]];
    else logger.error({ key: name }, 'a kept message was damaged and is lost');
  }
}
