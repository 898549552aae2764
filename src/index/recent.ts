import { bootOf, positionOf, type StoredEvent, type StoredMessage } from '../domain/index.ts';
import { ended, type Kind, keptTime, letIn, maxBootsBack, positionFrom, refused } from './posting.ts';

/** Postings of one boot and one clock quality, in lists by term, in the order in which they came. */
export interface Batch {
  readonly boot: number;
  readonly synced: boolean;
  readonly lists: Readonly<Record<Kind, Map<string, number[]>>>;
}

/** A term's list in a batch as it was at one moment: it may have grown since. */
export interface RecentList {
  readonly boot: number;
  readonly synced: boolean;
  readonly list: readonly number[];
  readonly length: number;
}

const none: readonly RecentList[] = [];

/**
 * The postings that are not on disk yet. A list begins with just its first posting: the array that a first `push` makes has
 * room for twenty numbers, and most of ten thousand devices have no more than one.
 */
export class RecentPostings {
  #batches: Batch[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  get batches(): readonly Batch[] {
    return this.#batches;
  }

  /** What came in from a client is its uplink, and one to its topic; what came from elsewhere is not recorded. */
  message(message: StoredMessage): void {
    if (message.origin === 'upstream' || message.origin === 'gateway') return;
    const { lists } = this.#batch(bootOf(message.id), message.timeQuality === 'synced');
    const time = keptTime(message.time);
    const position = positionOf(message.id);
    const topic = lists.topic.get(message.topic);
    if (topic === undefined) lists.topic.set(message.topic, [time, position]);
    else topic.push(time, position);
    this.#count += 1;
    if (message.clientId === '') return;
    const client = lists.client.get(message.clientId);
    if (client === undefined) lists.client.set(message.clientId, [time, position, 0]);
    else client.push(time, position, 0);
    this.#count += 1;
  }

  /** `head`: deliveries of messages below are not worth recording. */
  event(event: StoredEvent, head: bigint): void {
    if (event.clientId === '') return;
    const boot = bootOf(event.place.position);
    const synced = event.timeQuality === 'synced';
    const time = keptTime(event.time);
    if (event.kind === 'delivered') {
      if (event.message < head || boot - bootOf(event.message) > maxBootsBack) return;
      const flags = 1 | (event.qos << 1);
      listOf(this.#batch(boot, synced).lists.client, event.clientId).push(
        time,
        positionFrom(boot, event.message),
        flags,
      );
    } else {
      const { connection } = this.#batch(boot, synced).lists;
      const position = positionOf(event.place.position);
      const flags = event.kind === 'disconnected' ? ended : event.reason === 'not_authorized' ? refused : letIn;
      const { offset } = event.place;
      const list = connection.get(event.clientId);
      if (list === undefined) connection.set(event.clientId, [time, position, flags, offset, event.index]);
      else list.push(time, position, flags, offset, event.index);
    }
    this.#count += 1;
  }

  /** A term's lists, oldest first, as they are now. */
  lists(kind: Kind, term: string): readonly RecentList[] {
    let found: RecentList[] | undefined;
    for (const { boot, synced, lists } of this.#batches) {
      const list = lists[kind].get(term);
      if (list === undefined) continue;
      found ??= [];
      found.push({ boot, synced, list, length: list.length });
    }
    return found ?? none;
  }

  /** Forgets everything: it is on disk now, or is to be read again. Lists handed out stay as they are. */
  clear(): void {
    this.#batches = [];
    this.#count = 0;
  }

  #batch(boot: number, synced: boolean): Batch {
    const last = this.#batches[this.#batches.length - 1];
    if (last !== undefined && last.boot === boot && last.synced === synced) return last;
    const batch: Batch = { boot, synced, lists: { client: new Map(), connection: new Map(), topic: new Map() } };
    this.#batches.push(batch);
    return batch;
  }
}

function listOf(lists: Map<string, number[]>, term: string): number[] {
  let list = lists.get(term);
  if (list === undefined) {
    list = [];
    lists.set(term, list);
  }
  return list;
}
