const pattern = /^(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}:\d{2})(?:\.(\d{3}))?$/;
const day = 86_400_000;
/** Offsets change on full quarters of an hour only. */
const slot = 900_000;
const remembered = 4_096;

/** A written time: the earliest and the latest instant (ms since 1970) that it names. */
export interface WrittenTime {
  /** The written figures, as if they were UTC: comparable with others of the same zone. */
  readonly written: number;
  readonly from: number;
  /** The last millisecond of a time in whole seconds. */
  readonly to: number;
}

/**
 * Times as people of one IANA zone write them, `yyyy-MM-dd HH:mm:ss` with or without `.SSS`.
 *
 * A time that the clocks showed twice (autumn) begins a window with the first and ends it with the second; one that they
 * skipped (spring) begins it with the moment of the jump and ends it just before. So a window holds every instant that
 * is shown as lying in it.
 */
export class ZonedTime {
  readonly #zone: string | undefined;
  readonly #offsets = new Map<number, number>();

  #known: Intl.DateTimeFormat | undefined;

  /** `zone`: default the system's. */
  constructor(zone?: string) {
    this.#zone = zone;
  }

  /** `yyyy-MM-dd HH:mm:ss.SSS` */
  withMillis(instant: number): string {
    return new Date(instant + this.#offsetAt(instant)).toISOString().slice(0, 23).replace('T', ' ');
  }

  /** `yyyy-MM-dd HH:mm:ss` */
  inSeconds(instant: number): string {
    return this.withMillis(instant).slice(0, 19);
  }

  /** undefined where the text is no such time, or one that no calendar has. */
  parse(text: string): WrittenTime | undefined {
    const parts = pattern.exec(text);
    if (parts === null) return undefined;
    const [, date = '', time = '', millis] = parts;
    const iso = `${date}T${time}.${millis ?? '000'}Z`;
    const written = Date.parse(iso);
    if (Number.isNaN(written) || new Date(written).toISOString() !== iso) return undefined;
    const whole = millis === undefined ? 999 : 0;
    const instants = this.#named(written);
    if (instants.length > 0) return { written, from: Math.min(...instants), to: Math.max(...instants) + whole };
    const jump = this.#jump(written);
    return { written, from: jump, to: jump - 1 };
  }

  /** The instants that the zone's clocks show as `written`: one, two, or none. */
  #named(written: number): readonly number[] {
    const before = written - this.#offsetAt(written - day);
    const after = written - this.#offsetAt(written + day);
    return [before, after].filter((instant) => instant + this.#offsetAt(instant) === written);
  }

  /** The first instant that is shown as later than `written`, which is skipped. */
  #jump(written: number): number {
    let low = written - day * 2;
    let high = written + day * 2;
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (middle + this.#offsetAt(middle) < written) low = middle;
      else high = middle;
    }
    return high;
  }

  /** Milliseconds that the zone's clocks are ahead of UTC; from memory for all of a quarter of an hour. */
  #offsetAt(instant: number): number {
    const key = Math.floor(instant / slot);
    const known = this.#offsets.get(key);
    if (known !== undefined) return known;
    const offset = this.#exactOffset(key * slot);
    if (this.#offsets.size >= remembered) this.#offsets.clear();
    this.#offsets.set(key, offset);
    return offset;
  }

  #exactOffset(instant: number): number {
    const found: Record<string, string> = {};
    for (const { type, value } of this.#format.formatToParts(instant)) found[type] = value;
    const { year = '', month, day: date, hour, minute, second } = found;
    const shown = Date.parse(`${year.padStart(4, '0')}-${month}-${date}T${hour}:${minute}:${second}Z`);
    return shown - Math.floor(instant / 1_000) * 1_000;
  }

  /**
   * Made at the first question: a gateway that is never asked does without the 8 MB of locale data.
   * @throws RangeError for a zone that is not known here.
   */
  get #format(): Intl.DateTimeFormat {
    this.#known ??= new Intl.DateTimeFormat('en-US', {
      timeZone: this.#zone,
      calendar: 'gregory',
      numberingSystem: 'latn',
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
    });
    return this.#known;
  }
}
