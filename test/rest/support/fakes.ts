import type { HoldfastError } from '../../../src/base/index.ts';
import type { Message, StoredMessage } from '../../../src/domain/index.ts';
import type {
  ConnectionRecord,
  DeliveryRecord,
  MessageRecord,
  PageOf,
  Rows,
  TimeWindow,
} from '../../../src/index/index.ts';
import type { OnlineClient, Presence, Publisher, Queries, Subscription } from '../../../src/rest/index.ts';

/** 2021-08-28 18:23:09.718 in Shanghai. */
export const recorded = Date.UTC(2021, 7, 28, 10, 23, 9, 718);

export function storedMessage(given: Partial<StoredMessage> = {}): StoredMessage {
  return {
    topic: 'testtopic/a',
    payload: Buffer.from('dsfsfd'),
    qos: 0,
    retain: false,
    expiry: 0,
    origin: 'mqtt',
    upstream: '',
    clientId: 'test@app',
    username: '',
    connection: 0x04d2e010d6002000n,
    id: 0x04d2e037fa002000n,
    time: recorded,
    timeQuality: 'synced',
    monotonic: 0,
    ...given,
  };
}

export function connectionRecord(given: Partial<ConnectionRecord> = {}): ConnectionRecord {
  return {
    kind: 'connected',
    reason: 'normal',
    connection: 0x04d2c1dd8b002000n,
    clientId: 'abc@app',
    username: 'test1',
    network: 'ws',
    address: '::ffff:172.18.1.24:21258',
    version: 4,
    keepalive: 60,
    clean: true,
    will: undefined,
    place: { position: 0n, offset: 0 },
    index: 0,
    time: recorded,
    timeQuality: 'synced',
    ...given,
  } as ConnectionRecord;
}

export function onlineClient(given: Partial<OnlineClient> = {}): OnlineClient {
  return {
    connection: 0x06d9aea3cb007001n,
    clientId: 'deviceId1@app',
    username: 'vimin1',
    network: 'ws',
    address: '127.0.0.1:40000',
    version: 4,
    keepalive: 60,
    clean: false,
    will: undefined,
    connectedAt: recorded,
    ...given,
  };
}

function paged<Row extends { readonly time: number }>(all: readonly Row[], { from, to }: TimeWindow, page: PageOf) {
  const within = all.filter(({ time }) => time >= from && time <= to).sort((a, b) => a.time - b.time);
  if (page.order === 'desc') within.reverse();
  return { rows: within.slice(page.skip, page.skip + page.limit), total: within.length };
}

/** The gateway's past, as arrays. */
export class FakeQueries implements Queries {
  readonly connections: ConnectionRecord[] = [];
  readonly records: (MessageRecord & { readonly clientId: string })[] = [];
  readonly delivered: (DeliveryRecord & { readonly message: bigint; readonly clientId: string })[] = [];
  readonly messages: StoredMessage[] = [];
  readonly windows: TimeWindow[] = [];
  /** Set: every query throws it. */
  broken: Error | undefined;
  /** Set: every query waits for it. */
  gate: Promise<void> | undefined;
  asked = 0;
  /** Topic messages read so far. */
  read = 0;
  /** Topic messages after which reading fails. */
  failAfter = Number.POSITIVE_INFINITY;

  async #asked(window?: TimeWindow): Promise<void> {
    this.asked += 1;
    if (window !== undefined) this.windows.push(window);
    if (this.broken !== undefined) throw this.broken;
    await this.gate;
  }

  async connectionRecords(clientId: string, window: TimeWindow, page: PageOf): Promise<Rows<ConnectionRecord>> {
    await this.#asked(window);
    return paged(
      this.connections.filter((one) => one.clientId === clientId),
      window,
      page,
    );
  }

  async lastConnection(clientId: string): Promise<ConnectionRecord | undefined> {
    await this.#asked();
    return this.connections.filter((one) => one.clientId === clientId && one.kind === 'connected').at(-1);
  }

  async messageRecords(clientId: string, window: TimeWindow, page: PageOf): Promise<Rows<MessageRecord>> {
    await this.#asked(window);
    return paged(
      this.records.filter((one) => one.clientId === clientId),
      window,
      page,
    );
  }

  async deliveries(message: bigint, clientId: string, window: TimeWindow, page: PageOf): Promise<Rows<DeliveryRecord>> {
    await this.#asked(window);
    const found = this.delivered.filter((one) => one.clientId === clientId && one.message === message);
    return paged(found, window, page);
  }

  async message(id: bigint): Promise<StoredMessage | undefined> {
    await this.#asked();
    return this.messages.find((one) => one.id === id);
  }

  async topicMessages(topic: string, window: TimeWindow, page: PageOf) {
    await this.#asked(window);
    const { rows, total } = paged(
      this.messages.filter((one) => one.topic === topic && one.origin !== 'upstream'),
      window,
      page,
    );
    const self = this;
    async function* messages() {
      for (const [at, row] of rows.entries()) {
        if (at >= self.failAfter) throw new Error('the disk hangs at /secret/place');
        self.read += 1;
        yield row;
      }
    }
    return { total, messages: messages() };
  }
}

/** The gateway's present. */
export class FakePresence implements Presence {
  readonly clients = new Map<string, OnlineClient>();
  readonly held = new Map<string, readonly Subscription[]>();

  connect(client: Partial<OnlineClient>, subscriptions: readonly Subscription[] = []): void {
    const made = onlineClient(client);
    this.clients.set(made.clientId, made);
    this.held.set(made.clientId, subscriptions);
  }

  online(): Iterable<OnlineClient> {
    return this.clients.values();
  }

  find(clientId: string): OnlineClient | undefined {
    return this.clients.get(clientId);
  }

  subscriptions(clientId: string): readonly Subscription[] {
    return this.held.get(clientId) ?? [];
  }
}

/** Takes messages, or refuses them. */
export class FakePublisher implements Publisher {
  readonly published: (readonly Message[])[] = [];
  error: HoldfastError | undefined;
  #next = 0x04d2b21648002000n;

  publishTogether(
    messages: readonly Message[],
    done: (error: HoldfastError | undefined, ids: readonly bigint[]) => void,
  ): void {
    if (this.error !== undefined) {
      done(this.error, []);
      return;
    }
    this.published.push(messages);
    done(
      undefined,
      messages.map(() => this.#next++),
    );
  }
}
