import type { Clock } from '../base/index.ts';
import { bootOf, type EventPlace, positionOf, type StoredEvent, type StoredMessage } from '../domain/index.ts';
import type { IndexedLog } from './indexed-log.ts';
import type { Place } from './progress.ts';
import type { RecentPostings } from './recent.ts';
import { Slices } from './slices.ts';

const sliceMs = 2;
const sliceRecords = 1_000;
const pageRecords = 500;
const pageBytes = 256 * 1024;

/**
 * Reads the log from where it is and hands what it finds to the postings, messages and events in the order of their
 * places: a run of events at a position comes behind the messages with lower ids. Between two records it can be asked
 * where it is, but not within a run of events.
 */
export class Follower {
  readonly #log: IndexedLog;
  readonly #clock: Clock;
  readonly #recent: RecentPostings;
  #message = 0n;
  #event: EventPlace = { position: 0n, offset: 0 };
  #lastMessage: bigint | undefined;
  #lastRun: EventPlace | undefined;
  #events: Iterator<StoredEvent> | undefined;
  /** The next of them; undefined where there is none. */
  #next: StoredEvent | undefined;
  #messages: readonly StoredMessage[] = [];
  #messageAt = 0;
  #messagesNext = 0n;

  constructor(log: IndexedLog, clock: Clock, recent: RecentPostings) {
    this.#log = log;
    this.#clock = clock;
    this.#recent = recent;
  }

  get place(): Place {
    return { message: this.#message, event: this.#event, lastMessage: this.#lastMessage, lastRun: this.#lastRun };
  }

  /** Messages that are committed and not yet indexed; of an earlier boot's, those that cannot be known are left out. */
  get lag(): number {
    const { next } = this.#log;
    if (next <= this.#message) return 0;
    return bootOf(next) === bootOf(this.#message) ? Number(next - this.#message) : positionOf(next);
  }

  /** Goes on from there. */
  moveTo(place: Place): void {
    this.#message = place.message;
    this.#event = place.event;
    this.#lastMessage = place.lastMessage;
    this.#lastRun = place.lastRun;
    this.#dropPages();
  }

  /**
   * Goes on until what was there at the call is indexed, or `enough` says so. After each slice `between` is called.
   * @returns whether it came to the end; `stalled` where the log has more, but does not give it now.
   */
  async catchUp(enough: () => boolean, between: () => void): Promise<'done' | 'enough' | 'stalled'> {
    const slices = new Slices(this.#clock, 'index follow', sliceMs);
    // Messages behind this are left for the next time: events before them may have come in the meantime.
    const until = this.#log.next;
    let noEvents = false;
    let records = 0;
    try {
      for (;;) {
        if (enough()) return 'enough';
        if (records >= sliceRecords || slices.over) {
          records = 0;
          await slices.pause();
          between();
          continue;
        }
        this.#skipTrimmed();
        if (!noEvents && this.#next === undefined) noEvents = !(await this.#readEvents());
        const place = this.#next?.place;
        if (place !== undefined && place.position <= this.#message) {
          records += this.#indexRun(place);
          continue;
        }
        const horizon = place !== undefined && place.position < until ? place.position : until;
        if (this.#message >= horizon) return 'done';
        if (this.#messageAt >= this.#messages.length && this.#messagesNext <= this.#message) {
          if (!(await this.#readMessages())) return 'stalled';
        }
        records += this.#indexMessages(horizon, sliceRecords - records);
      }
    } finally {
      this.#dropPages();
    }
  }

  /** What retention has deleted before it was read is passed over. */
  #skipTrimmed(): void {
    const { head } = this.#log;
    const eventHead = this.#log.events.head;
    if (this.#message < head) {
      this.#message = head;
      while ((this.#messages[this.#messageAt]?.id ?? head) < head) this.#messageAt += 1;
    }
    if (isBefore(this.#event, eventHead)) {
      this.#event = eventHead;
      this.#passOver(eventHead);
    }
  }

  /** @returns whether there are more. */
  async #readEvents(): Promise<boolean> {
    for (;;) {
      const { events, next } = await this.#log.events.read(this.#event, { bytes: pageBytes });
      this.#events = events[Symbol.iterator]();
      this.#advance();
      this.#passOver(this.#event);
      if (this.#next !== undefined) return true;
      if (!isBefore(this.#event, next)) return false;
      this.#event = next;
    }
  }

  #advance(): void {
    this.#next = this.#events?.next().value;
  }

  #passOver(before: EventPlace): void {
    while (this.#next !== undefined && isBefore(this.#next.place, before)) this.#advance();
  }

  async #readMessages(): Promise<boolean> {
    const read = this.#log.read(this.#message, { records: pageRecords, bytes: pageBytes });
    const page = read instanceof Promise ? await read : read;
    if (page.next <= this.#message) return false;
    this.#messages = page.messages;
    this.#messageAt = 0;
    this.#messagesNext = page.next;
    return true;
  }

  #indexRun(place: EventPlace): number {
    const { head } = this.#log;
    let records = 0;
    for (let event = this.#next; event !== undefined; event = this.#next) {
      if (event.place.offset !== place.offset || event.place.position !== place.position) break;
      this.#recent.event(event, head);
      this.#advance();
      records += 1;
    }
    this.#lastRun = place;
    this.#event = { position: place.position, offset: place.offset + 1 };
    return records;
  }

  /** Indexes messages below `horizon` out of the page at hand. */
  #indexMessages(horizon: bigint, atMost: number): number {
    let records = 0;
    for (; records < atMost; records++) {
      const message = this.#messages[this.#messageAt];
      if (message === undefined) {
        this.#message = this.#messagesNext < horizon ? this.#messagesNext : horizon;
        return records + 1;
      }
      if (message.id >= horizon) {
        this.#message = horizon;
        return records + 1;
      }
      this.#recent.message(message);
      this.#lastMessage = message.id;
      this.#message = message.id + 1n;
      this.#messageAt += 1;
    }
    return records;
  }

  #dropPages(): void {
    this.#events = undefined;
    this.#next = undefined;
    this.#messages = [];
    this.#messageAt = 0;
    this.#messagesNext = 0n;
  }
}

export function isBefore(a: EventPlace, b: EventPlace): boolean {
  return a.position < b.position || (a.position === b.position && a.offset < b.offset);
}
