import type { Connected, Disconnected, StoredEvent, StoredMessage } from '../domain/index.ts';
import type { IndexedLog } from './indexed-log.ts';
import { idAt, type Posting } from './posting.ts';
import type { ConnectionRecord } from './rows.ts';

/** Ids that lie within so many are read together. */
const reach = 16n;
const groupBytes = 1024 * 1024;

/** The message with that id, where it is still there. */
export async function messageOf(log: IndexedLog, id: bigint): Promise<StoredMessage | undefined> {
  if (id < log.head || id >= log.next) return undefined;
  const { messages } = await log.read(id, { records: 1, bytes: 1 });
  const [message] = messages;
  return message?.id === id && id >= log.head ? message : undefined;
}

/** The messages with these ids in this order, read a few at a time; what was deleted meanwhile is left out. */
export async function* messagesOf(log: IndexedLog, ids: readonly bigint[]): AsyncGenerator<StoredMessage, void, void> {
  for (let at = 0; at < ids.length; ) {
    const first = ids[at] ?? 0n;
    let low = first;
    let high = first;
    let end = at + 1;
    for (let id = ids[end]; id !== undefined; id = ids[++end]) {
      const nextLow = id < low ? id : low;
      const nextHigh = id > high ? id : high;
      if (nextHigh - nextLow >= reach) break;
      low = nextLow;
      high = nextHigh;
    }
    const page = await log.read(low, { records: Number(high - low) + 1, bytes: groupBytes });
    const read = new Map(page.messages.map((message) => [message.id, message]));
    for (; at < end; at++) {
      const id = ids[at] ?? 0n;
      const message = read.get(id) ?? (id < page.next ? undefined : await messageOf(log, id));
      if (message !== undefined && id >= log.head) yield message;
    }
  }
}

/** The connection events of these postings in this order; what was deleted meanwhile is left out. */
export async function connectionsOf(log: IndexedLog, postings: readonly Posting[]): Promise<ConnectionRecord[]> {
  const records: ConnectionRecord[] = [];
  let run: readonly StoredEvent[] = [];
  let last: Posting | undefined;
  for (const posting of postings) {
    if (last?.boot !== posting.boot || last.position !== posting.position || last.offset !== posting.offset) {
      run = await log.events.at({ position: idAt(posting.boot, posting.position), offset: posting.offset });
      last = posting;
    }
    const event = run[posting.index];
    if (event !== undefined && isConnection(event)) records.push(event);
  }
  return records;
}

function isConnection(event: StoredEvent): event is StoredEvent<Connected> | StoredEvent<Disconnected> {
  return event.kind !== 'delivered';
}
