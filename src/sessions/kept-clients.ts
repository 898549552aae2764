import { earlierOf, type StoredMessage } from '../domain/index.ts';
import { bytesOfId, prefix } from './codec.ts';
import type { SessionDeps } from './options.ts';
import type { WatermarkRow } from './rows.ts';
import { TextRow } from './text-row.ts';
import { Row, type WriteBehind } from './write-behind.ts';

const page = { records: 1_000, bytes: 1024 * 1024 };

/** The lowest id of a message that a kept client has not acknowledged, at each write. */
class OwedRow extends Row {
  readonly #at: () => bigint;

  constructor(at: () => bigint) {
    super();
    this.#at = at;
  }

  override key(): Buffer {
    return Buffer.from(prefix.owedFrom);
  }

  override value(): Buffer {
    return bytesOfId(this.#at());
  }
}

/**
 * Connected clients that are to be gone on with after a restart, and where the log is to be read again for them. What is
 * kept of each is a text of their edge's own.
 */
export class KeptClients {
  readonly #writer: WriteBehind;
  readonly #watermark: WatermarkRow;
  readonly #deps: Pick<SessionDeps, 'log' | 'logger'>;
  readonly #rows = new Map<string, TextRow>();
  readonly #owed = new OwedRow(() => this.at);
  /** The lowest id that one of them is owed; undefined where they have all. */
  #lowest: () => bigint | undefined = () => undefined;
  #restoredAt: bigint | undefined;

  constructor(writer: WriteBehind, watermark: WatermarkRow, deps: Pick<SessionDeps, 'log' | 'logger'>) {
    this.#writer = writer;
    this.#watermark = watermark;
    this.#deps = deps;
  }

  get count(): number {
    return this.#rows.size;
  }

  /** The id of the next message: what is subscribed to now is owed from there on. */
  get position(): bigint {
    return this.#watermark.at;
  }

  /** Where the log is to be read from after a restart. */
  get at(): bigint {
    if (this.#rows.size === 0) return this.#watermark.at;
    return this.#restoredAt ?? earlierOf(this.#lowest() ?? this.#watermark.at, this.#watermark.at);
  }

  /**
   * Keeps a client; it counts once that is on disk, when this resolves.
   * @throws HoldfastError `store_failed`, `unavailable`: it is written once the store can be.
   */
  async keep(clientId: string, text: () => string): Promise<void> {
    const row = this.#rows.get(clientId) ?? new TextRow(prefix.kept, clientId, text);
    row.text = text;
    this.#rows.set(clientId, row);
    this.#writer.mark(row);
    this.#writer.mark(this.#owed);
    await this.#writer.flush(true);
  }

  /** As `keep`, for one whom the disk has already. */
  goOn(clientId: string, text: () => string): void {
    const row = this.#rows.get(clientId);
    if (row !== undefined) row.text = text;
  }

  /** What there is to keep of a client has changed in a way that nobody waits for. */
  changed(clientId: string): void {
    const row = this.#rows.get(clientId);
    if (row !== undefined) this.#writer.mark(row);
  }

  forget(clientId: string): void {
    const row = this.#rows.get(clientId);
    if (row === undefined) return;
    this.#rows.delete(clientId);
    this.#writer.remove(row);
  }

  /** A message was acknowledged, so that `at` may have moved. */
  moved(): void {
    this.#writer.mark(this.#owed);
  }

  /** Those whom an earlier run kept, with their texts. */
  *all(): Generator<readonly [string, string]> {
    for (const [clientId, row] of [...this.#rows]) yield [clientId, row.text()];
  }

  /**
   * Writes all of them anew; they are on the disk when this resolves.
   * @throws HoldfastError `store_failed`, `unavailable`.
   */
  async write(): Promise<void> {
    if (this.#rows.size === 0) return;
    for (const row of this.#rows.values()) this.#writer.mark(row);
    await this.#writer.flush(true);
  }

  /** What came in since the place where one of them may not have all: while nobody publishes. */
  async *missed(): AsyncGenerator<StoredMessage> {
    const { log, logger } = this.#deps;
    for (let from = this.at; this.#rows.size > 0 && from < log.next; ) {
      const { messages, next, lost } = await log.read(from, page);
      if (lost > 0) logger.warn({ lost }, 'messages that CoAP clients may have waited for are lost');
      yield* messages;
      if (next === from) break;
      from = next;
    }
  }

  /** From here on `lowest` tells what they are owed. */
  begin(lowest: () => bigint | undefined): void {
    this.#lowest = lowest;
    this.#restoredAt = undefined;
  }

  restore(clientId: string, text: string): void {
    const row = new TextRow(prefix.kept, clientId, () => text);
    row.stored = true;
    this.#rows.set(clientId, row);
  }

  restoreAt(id: bigint): void {
    this.#restoredAt = id;
    this.#owed.stored = true;
  }

  /** Where the disk does not say that place: where sessions have it. */
  restoredBy(watermark: bigint): void {
    this.#restoredAt ??= watermark;
  }

  /** Rows of everything, for a store that has lost them. */
  *rows(): Generator<Row> {
    yield* this.#rows.values();
    yield this.#owed;
  }
}
