import { HoldfastError, reasonOf, type Service } from '../base/index.ts';
import type { QoS, StoredMessage } from '../domain/index.ts';
import { connectionsOf, messageOf, messagesOf } from './contents.ts';
import { Keeper } from './keeper.ts';
import type { IndexDeps } from './options.ts';
import { idAt, type Posting } from './posting.ts';
import type { ConnectionRecord, DeliveryRecord, MessageRecord, PageOf, Rows, TimeWindow } from './rows.ts';
import { type Found, scan, type Wanted } from './scan.ts';

const always: TimeWindow = { from: Number.NEGATIVE_INFINITY, to: Number.POSITIVE_INFINITY };

/**
 * The query index. See this folder's `index.ts` for its design.
 *
 * Client ids are full ones. A query is answered as of one moment; what retention has deleted by then is in no answer.
 * All of them throw `unavailable` where the index cannot be read at the moment.
 */
export class Index implements Service {
  readonly name = 'index';
  readonly #deps: IndexDeps;
  readonly #keeper: Keeper;

  constructor(deps: IndexDeps) {
    this.#deps = deps;
    this.#keeper = new Keeper(deps);
  }

  /** Bytes that it takes on the disk at most, as it is now. */
  get bytes(): number {
    return this.#keeper.taken;
  }

  /** Does not wait for what has to be read from the log. */
  start(): Promise<void> {
    return this.#keeper.start();
  }

  stop(): Promise<void> {
    return this.#keeper.stop();
  }

  async connectionRecords(clientId: string, window: TimeWindow, page: PageOf): Promise<Rows<ConnectionRecord>> {
    const { total, postings } = await this.#scan({ kind: 'connection', term: clientId, window }, page);
    return { rows: await connectionsOf(this.#deps.log, postings), total };
  }

  /** The newest `connected` record of a login that was let in. */
  async lastConnection(clientId: string): Promise<ConnectionRecord | undefined> {
    const wanted = { kind: 'connection', term: clientId, window: always, letIn: true } as const;
    const { postings } = await this.#scan(wanted, { skip: 0, limit: 1, order: 'desc' });
    const [record] = await connectionsOf(this.#deps.log, postings);
    return record;
  }

  async messageRecords(clientId: string, window: TimeWindow, page: PageOf): Promise<Rows<MessageRecord>> {
    const { total, postings } = await this.#scan({ kind: 'client', term: clientId, window }, page);
    const rows = postings.map(({ time, boot, position, flags }): MessageRecord => {
      return { time, message: idAt(boot, position), direction: (flags & 1) === 0 ? 'uplink' : 'downlink' };
    });
    return { rows, total };
  }

  async deliveries(message: bigint, clientId: string, window: TimeWindow, page: PageOf): Promise<Rows<DeliveryRecord>> {
    const wanted = { kind: 'client', term: clientId, window, delivered: message } as const;
    const { total, postings } = await this.#scan(wanted, page);
    return { rows: postings.map((posting) => ({ time: posting.time, qos: qosOf(posting) })), total };
  }

  message(id: bigint): Promise<StoredMessage | undefined> {
    return messageOf(this.#deps.log, id);
  }

  /** The uplinks to exactly `topic`. Messages are read as they are asked for, so that a page is never in memory as a whole. */
  async topicMessages(
    topic: string,
    window: TimeWindow,
    page: PageOf,
  ): Promise<{ readonly total: number; readonly messages: AsyncIterable<StoredMessage> }> {
    const { total, postings } = await this.#scan({ kind: 'topic', term: topic, window }, page);
    const ids = postings.map(({ boot, position }) => idAt(boot, position));
    return { total, messages: messagesOf(this.#deps.log, ids) };
  }

  #scan(asked: Omit<Wanted, 'head' | 'headOffset'>, page: PageOf): Promise<Found> {
    const { store, clock, log } = this.#deps;
    const keeper = this.#keeper;
    return keeper.gate.shared(async () => {
      if (!keeper.readable) throw new HoldfastError('unavailable', 'the query index is not open at the moment');
      const oldest = asked.kind === 'connection' ? log.events.head : { position: log.head, offset: 0 };
      const { position, offset } = oldest.position < keeper.floor ? { position: keeper.floor, offset: 0 } : oldest;
      const deps = {
        store,
        clock,
        recent: keeper.recent,
        shiftOf: (boot: number) => log.shiftOf(boot),
        numbers: () => keeper.numbers,
        damaged: (what: string) => keeper.damaged(what),
      };
      try {
        return await scan(deps, { ...asked, head: position, headOffset: offset }, page);
      } catch (thrown) {
        keeper.damaged(reasonOf(thrown));
        throw new HoldfastError('unavailable', `the query index could not be read: ${reasonOf(thrown)}`, {
          cause: thrown,
        });
      }
    });
  }
}

function qosOf({ flags }: Posting): QoS {
  const qos = flags >> 1;
  return qos === 1 || qos === 2 ? qos : 0;
}
