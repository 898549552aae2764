import { type Clock, reasonOf, type Timer } from '../base/index.ts';
import {
  type ClockQuality,
  type EventPlace,
  type GatewayEvent,
  makeMessageId,
  type StoredEvent,
} from '../domain/index.ts';
import type { Logger, Metrics } from '../telemetry/index.ts';
import { ChunkWriter, type Correct, eventsOf, readChunkHeader } from './chunk.ts';
import { endOf, eventKey, placeOfKey } from './keys.ts';
import { reclaimedFor } from './room.ts';
import type { RetentionBounds } from './segments.ts';
import type { Range, Store, Write } from './store.ts';

/** Events in their order, read as they are gone through. `next`: the place to go on from. */
export interface EventPage {
  readonly events: Iterable<StoredEvent>;
  readonly next: EventPlace;
}

interface EventChunk {
  readonly value: Buffer;
  readonly place: EventPlace;
}

export interface EventsDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly quality: () => ClockQuality;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly history: RetentionBounds;
  /** Where events may be written by themselves now; undefined where a commit is due that takes them along, or none works. */
  readonly place: () => bigint | undefined;
  readonly onWritten: () => void;
  readonly correct: Correct;
  /** Whether there is room on the disk for what can be done without. */
  readonly room: () => boolean;
  /** Id behind the last message on disk. */
  readonly committed: () => bigint;
}

/** How long an event may wait for a commit to go with, milliseconds. */
const patience = 250;
/** Bytes at which events are written at once: a burst of logins would gather half a megabyte, each byte of it held three times. */
const enough = 48 * 1024;
const maxPendingBytes = 1024 * 1024;
const leastBytes = 256 * 1024;
/** Part of the history's bytes that events may take beside it. */
const share = 4;
const ageCheck = 60_000;
const start: EventPlace = { position: 0n, offset: 0 };

/**
 * What happens beside the messages: gathered, and written in chunks of their own with the next commit or, where none
 * comes, without an fsync. A chunk lies behind the messages that it is about, at the running count of all event bytes,
 * so that two keys tell how many bytes there are.
 */
export class Events {
  readonly #deps: EventsDeps;
  readonly #writer = new ChunkWriter();
  readonly #dropped;
  #head = start;
  /** Bytes of all events ever written. */
  #end = 0;
  #deleted = 0;
  #compacted = start;
  #trimmedTo = 0n;
  #ageChecked = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;
  #writing = false;
  #open = false;
  #boot = 0;
  #connections = 0;

  constructor(deps: EventsDeps) {
    this.#deps = deps;
    this.#dropped = deps.metrics.counter('holdfast_events_dropped_total', 'Events that were not recorded.');
    deps.metrics.gauge('holdfast_events_bytes', 'Bytes of events kept.', () => this.bytes);
  }

  /** The oldest place that is kept. */
  get head(): EventPlace {
    return this.#head;
  }

  get bytes(): number {
    return this.#end - this.#head.offset;
  }

  /** An id for a client's connection, of the same form as those of messages and apart from them. */
  newConnectionId(): bigint {
    this.#connections += 1;
    return makeMessageId(this.#boot, this.#connections);
  }

  /** Takes an event: it is written with the next commit, or soon and without an fsync. Too many at once are dropped. */
  record(event: GatewayEvent): void {
    if (this.#writer.bytes >= maxPendingBytes || !this.#deps.room()) {
      this.#dropped.add();
      return;
    }
    this.#writer.addEvent(event, this.#deps.clock.monotonic());
    this.#arm();
    if (this.#writer.bytes >= enough && !this.#writing) void this.#write();
  }

  /** Finds what a store that was just opened has. */
  async open(boot: number): Promise<void> {
    const { store } = this.#deps;
    const all = { gte: eventKey(start), lt: endOf('e') };
    const first = await firstOf(store, all);
    const last = await firstOf(store, { ...all, reverse: true });
    this.#head = first === undefined ? start : placeOfKey(first[0]);
    this.#end = last === undefined ? 0 : placeOfKey(last[0]).offset + last[1].length;
    this.#compacted = this.#head;
    this.#boot = boot;
    this.#open = true;
  }

  close(): void {
    this.#open = false;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** What waits, to be written behind all messages below `position`. */
  take(position: bigint): Write[] {
    if (this.#writer.count === 0) return [];
    const { clock, quality } = this.#deps;
    const { bytes } = this.#writer.take(position, clock.monotonic(), clock.wall(), quality());
    const place = { position, offset: this.#end };
    if (this.bytes === 0) this.#head = place;
    this.#end += bytes.length;
    return [{ type: 'put', key: eventKey(place), value: bytes }];
  }

  /** Whole chunks from `from` on. None: `next` is `from`. */
  async read(from: EventPlace, max: { readonly bytes: number }): Promise<EventPage> {
    const chunks: EventChunk[] = [];
    let next = from;
    if (!this.#open) return { events: [], next };
    let bytes = 0;
    for await (const [key, value] of this.#deps.store.entries({ gte: eventKey(from), lt: endOf('e') })) {
      const place = placeOfKey(key);
      // what it is about is not there yet
      if (place.position > this.#deps.committed()) break;
      chunks.push({ value, place });
      next = { position: place.position, offset: place.offset + value.length };
      bytes += value.length;
      if (bytes >= max.bytes) break;
    }
    return { events: this.#eventsOf(chunks), next };
  }

  /** The events of the chunk at `place`; none where it is gone. */
  async at(place: EventPlace): Promise<readonly StoredEvent[]> {
    const value = this.#open ? await this.#deps.store.get(eventKey(place)) : undefined;
    return value === undefined ? [] : [...eventsOf(value, place, this.#deps.correct)];
  }

  *#eventsOf(chunks: readonly EventChunk[]): Generator<StoredEvent, void> {
    for (const { value, place } of chunks) yield* eventsOf(value, place, this.#deps.correct);
  }

  #arm(): void {
    this.#timer ??= this.#deps.clock.after('log events', patience, () => {
      this.#timer = undefined;
      void this.#write();
    });
  }

  async #write(): Promise<void> {
    if (this.#writer.count === 0 || !this.#open) return;
    const position = this.#deps.place();
    if (position === undefined || this.#writing) return this.#arm();
    this.#writing = true;
    try {
      await this.#deps.store.write(this.take(position), false);
      this.#deps.onWritten();
    } catch (thrown) {
      this.#deps.logger.warn({ reason: reasonOf(thrown) }, 'events were not recorded');
    } finally {
      this.#writing = false;
    }
  }

  /** Messages below `end` are gone, and what is recorded of them goes with them. */
  messagesDeleted(end: bigint): void {
    this.#trimmedTo = end;
  }

  /** Deletes what is too old or too much. */
  async trim(): Promise<void> {
    const { store, history } = this.#deps;
    const bound = Math.max(leastBytes, history.maxBytes / share);
    const oldest = this.#oldestAllowed();
    const from = this.#head;
    if (this.bytes === 0) return;
    if (oldest === undefined && from.position > this.#trimmedTo && this.bytes <= bound) return;
    // what is on its way to the disk is not found, and stays
    let head = from;
    for await (const [key, value] of store.entries({ gte: eventKey(from), lt: endOf('e') })) {
      const place = placeOfKey(key);
      const over = place.position <= this.#trimmedTo || this.#end - place.offset > bound;
      if (!over && !isOlder(value, place, oldest)) break;
      head = { position: place.position, offset: place.offset + value.length };
    }
    if (head.offset === from.offset) return;
    this.#head = head;
    this.#deleted += head.offset - from.offset;
    await store.clear({ gte: eventKey(from), lt: eventKey(head) });
    if (this.#deleted < reclaimedFor(history.maxBytes)) return;
    await store.compact({ gte: eventKey(this.#compacted), lt: eventKey(head) });
    this.#compacted = head;
    this.#deleted = 0;
  }

  /** The wall time before which chunks are too old; now and then, since the answer asks for a look at the disk. */
  #oldestAllowed(): number | undefined {
    const { clock, quality, history } = this.#deps;
    const now = clock.monotonic();
    if (now - this.#ageChecked < ageCheck || quality() !== 'synced') return undefined;
    this.#ageChecked = now;
    return clock.wall() - history.maxAge;
  }
}

function isOlder(chunk: Buffer, place: EventPlace, than: number | undefined): boolean {
  const header = than === undefined ? undefined : readChunkHeader(chunk, place.position);
  return header?.quality === 'synced' && header.wall < (than ?? 0);
}

async function firstOf(store: Store, range: Range): Promise<readonly [Buffer, Buffer] | undefined> {
  for await (const entry of store.entries(range)) return entry;
  return undefined;
}
