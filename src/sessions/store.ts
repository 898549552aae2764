import { reasonOf, type Service, type Timer } from '../base/index.ts';
import { earlierOf, type Message, storedMessage } from '../domain/index.ts';
import { asideOf, isFinal } from '../log/index.ts';
import { latest } from './codec.ts';
import { KeptClients } from './kept-clients.ts';
import { KeptObservers } from './kept-observers.ts';
import { load } from './load.ts';
import { noteFormat, openStore } from './opening.ts';
import { damaged, failing, type SessionDeps, type SessionLimits } from './options.ts';
import { WatermarkRow } from './rows.ts';
import { Sessions } from './sessions.ts';
import { type Row, WriteBehind } from './write-behind.ts';

/** Changes that nobody waits for reach the disk within this time, milliseconds. */
const flushDelay = 200;
/** How often the log is told what need not be kept for sessions any more, milliseconds. */
const watermarkInterval = 10_000;
const sweepInterval = 60_000;
/** How often what has changed of observers without a connection is written, milliseconds. */
const observersInterval = 600_000;
const reopenDelay = 1_000;
/** The reader's name under which the log keeps what sessions may have to read again. */
const cursor = 'sessions';
/** How much the log keeps for it. */
const maxHeldBytes = 256 * 1024 * 1024;
const page = { records: 1_000, bytes: 1024 * 1024 };
/** Clients that are named where something of theirs is lost. */
const maxNamed = 20;

/** Where every message comes from, with its id. */
export interface NumberedSource {
  onMessage(subscriber: (message: Message, id: bigint) => void): () => void;
}

/** Sessions with their store: read back at start, what they missed is read from the log, then kept on disk. */
export class SessionStore implements Service {
  readonly name = 'sessions';
  readonly sessions: Sessions;
  /** CoAP clients that are connected. */
  readonly clients: KeptClients;
  /** CoAP observers without a connection. */
  readonly observers: KeptObservers;
  readonly #deps: SessionDeps & { readonly source: NumberedSource };
  readonly #writer: WriteBehind;
  #timers: Timer[] = [];
  #unsubscribe: (() => void) | undefined;
  #stopped = false;
  /** Whether memory has what the disk had. */
  #loaded = false;
  /** Where the log was last told to keep from. */
  #advanced = 0n;

  constructor(deps: SessionDeps & { readonly source: NumberedSource }) {
    this.#deps = deps;
    const watermark = new WatermarkRow();
    this.#writer = new WriteBehind({
      store: deps.store,
      clock: deps.clock,
      delay: flushDelay,
      always: watermark,
      failed: (error) => this.#failed(error),
    });
    this.sessions = new Sessions(deps, this.#writer, watermark);
    this.clients = new KeptClients(this.#writer, watermark, deps);
    this.observers = new KeptObservers(this.#writer);
  }

  get limits(): SessionLimits {
    return this.#deps.limits;
  }

  /** What was changed up to now is written, and with `sync` on the disk, when this resolves. */
  flush(sync: boolean): Promise<void> {
    return this.#writer.flush(sync);
  }

  /** Has the log keep what sessions may need; before the log drops what nobody declared. */
  hold(): void {
    this.#deps.log.holdFor(cursor, {
      maxBytes: maxHeldBytes,
      maxRecords: Number.MAX_SAFE_INTEGER,
      overflow: 'drop_oldest',
    });
  }

  /** To be started while nobody publishes yet: the log is read to its end, and what follows is heard from `source`. */
  async start(): Promise<void> {
    const { clock, logger, source } = this.#deps;
    this.#stopped = false;
    this.hold();
    await this.#open();
    const missed = await this.#catchUp();
    this.#unsubscribe = source.onMessage((message, id) => this.#heard(message, id));
    this.sessions.sweep();
    await this.#advance();
    this.#timers = [
      clock.every('sessions watermark', watermarkInterval, () => void this.#advance()),
      clock.every('sessions sweep', sweepInterval, () => this.sessions.sweep()),
      clock.every('kept observers', observersInterval, () => this.observers.write()),
    ];
    if (this.sessions.count > 0) logger.info({ sessions: this.sessions.count, missed }, 'sessions are back');
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#timers.splice(0)) timer.cancel();
    this.#unsubscribe?.();
    this.observers.write();
    const written = await this.#writer.close();
    if (written) this.#deps.log.moveCursor(cursor, this.#needed);
    await this.#deps.store.close().catch(() => undefined);
  }

  /** The lowest id that may have to be read again after a restart. */
  get #needed(): bigint {
    return earlierOf(this.sessions.watermark.at, this.clients.at);
  }

  *#rows(): Generator<Row> {
    yield* this.sessions.rows();
    yield* this.clients.rows();
    yield* this.observers.rows();
  }

  /** Opens the store; what does not open or read is raised as a condition, and sessions begin with what there is. */
  async #open(): Promise<void> {
    const { store, health, logger, log } = this.#deps;
    this.sessions.watermark.at = log.next;
    let format: number;
    try {
      const { opening, ...found } = await openStore(store);
      format = found.format;
      const passedOver = 'passedOver' in opening ? opening.passedOver : undefined;
      if (passedOver !== undefined) {
        health.raise(damaged, passedOver);
        logger.error({ passedOver }, 'a part of the session store does not read and is lost');
      } else if (opening.how === 'repaired' || opening.how === 'moved_aside') {
        health.raise(damaged, asideOf(opening));
        logger.error(opening, 'the session store was damaged');
      }
    } catch (thrown) {
      if (isFinal(thrown)) throw thrown;
      this.#writer.fail();
      health.raise(failing, reasonOf(thrown));
      logger.error({ reason: reasonOf(thrown) }, 'the session store does not open; sessions are in memory only');
      this.#reopenLater();
      return;
    }
    this.#loaded = true;
    let watermark: bigint | undefined;
    try {
      const found = await load(store, this.sessions, this.clients, this.observers, format);
      watermark = found.watermark ?? log.cursor?.(cursor);
      const entries = found.damaged.length;
      if (entries > 0) {
        const clients = [...found.clients].slice(0, maxNamed);
        health.raise(damaged, `${entries} entries are lost${clients.length === 0 ? '' : `, of ${clients.join(', ')}`}`);
        logger.error({ entries, clients }, 'entries of the session store were damaged and are lost');
        await store.write(
          found.damaged.map((key) => ({ type: 'del', key })),
          false,
        );
      }
    } catch (thrown) {
      health.raise(damaged, reasonOf(thrown));
      logger.error({ reason: reasonOf(thrown) }, 'the session store does not read to its end; what was read is kept');
    }
    if (watermark !== undefined) this.sessions.watermark.at = watermark;
    this.#writer.resume();
    if (format < latest) await this.#convert();
  }

  /** Writes all of it anew, in the format of now. */
  async #convert(): Promise<void> {
    try {
      for (const row of this.#rows()) this.#writer.mark(row);
      await this.#writer.flush(true);
      await noteFormat(this.#deps.store);
    } catch (thrown) {
      this.#deps.logger.warn({ reason: reasonOf(thrown) }, 'the session store keeps its older format for now');
    }
  }

  /** Queues what was logged and, as far as the disk knows, not queued. Returns how many messages were looked at. */
  async #catchUp(): Promise<number> {
    const { log, logger } = this.#deps;
    const { sessions } = this;
    let count = 0;
    for (let from = sessions.watermark.at; sessions.count > 0 && from < log.next; ) {
      const { messages, next, lost } = await log.read(from, page);
      if (lost > 0) logger.warn({ lost }, 'messages that sessions may have waited for are lost');
      for (const message of messages) sessions.enqueue(message);
      count += messages.length;
      if (next === from) break;
      from = next;
    }
    sessions.watermark.at = log.next;
    return count;
  }

  /** The log may let go of what is below the watermark once the disk has that. */
  async #advance(): Promise<void> {
    const at = this.#needed;
    if (at === this.#advanced) return;
    try {
      if (this.sessions.count + this.clients.count > 0) await this.#writer.flush(true);
      this.#advanced = at;
      this.#deps.log.moveCursor(cursor, at);
    } catch (thrown) {
      this.#deps.logger.debug({ reason: reasonOf(thrown) }, 'the watermark of sessions stays where it is');
    }
  }

  #failed(error: Error): void {
    const { health, logger } = this.#deps;
    health.raise(failing, error.message);
    logger.error({ reason: error.message }, 'the session store failed; it is opened anew');
    this.#reopenLater();
  }

  /** Memory is what counts: all of it is written again. */
  async #reopen(): Promise<void> {
    const { store, health, logger } = this.#deps;
    if (this.#stopped) return;
    try {
      await store.close();
      await store.open();
      // what was there and could not be read at start is not to come back at the next
      if (!this.#loaded) await store.clear({ gte: Buffer.from([0]), lt: Buffer.from([0xff]) });
      this.#loaded = true;
    } catch (thrown) {
      logger.debug({ reason: reasonOf(thrown) }, 'the session store does not open yet');
      this.#reopenLater();
      return;
    }
    for (const row of this.#rows()) this.#writer.mark(row);
    this.#writer.resume();
    await this.#writer.flush(true).then(
      () => health.clear(failing),
      () => undefined,
    );
  }

  #reopenLater(): void {
    this.#deps.clock.after('sessions reopen', reopenDelay, () => void this.#reopen());
  }

  #heard(message: Message, id: bigint): void {
    const { clock, quality } = this.#deps;
    if (message.qos === 0 || this.sessions.count === 0) {
      this.sessions.watermark.at = id + 1n;
      return;
    }
    this.sessions.enqueue(storedMessage(message, id, clock.wall(), quality(), clock.monotonic()));
  }
}
