/** Label values of one series, e.g. `{ protocol: 'coap' }`. */
export type Labels = Readonly<Record<string, string>>;

/** A number that only rises. */
export class Counter {
  value = 0;
  add(n = 1): void {
    this.value += n;
  }
}

export interface Series {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  readonly labels: Labels;
  readonly read: () => number;
}

/** The process's figures. Names are `holdfast_<noun>_<unit>[_total]`; one entry per name and labels. */
export class Metrics {
  readonly #series = new Map<string, Series>();
  readonly #counters = new Map<string, Counter>();

  /** The counter of that name and those labels, made at its first mention. */
  counter(name: string, help: string, labels: Labels = {}): Counter {
    const key = seriesKey(name, labels);
    let counter = this.#counters.get(key);
    if (counter === undefined) {
      const made = new Counter();
      counter = made;
      this.#counters.set(key, made);
      this.#series.set(key, { name, help, type: 'counter', labels, read: () => made.value });
    }
    return counter;
  }

  /** Registers a figure that is read when asked for; the same name and labels again replace it. */
  gauge(name: string, help: string, read: () => number, labels: Labels = {}): void {
    this.#series.set(seriesKey(name, labels), { name, help, type: 'gauge', labels, read });
  }

  /** All series, in the order of their first mention. */
  series(): Iterable<Series> {
    return this.#series.values();
  }

  /** The value of one series, or undefined where there is none. */
  value(name: string, labels: Labels = {}): number | undefined {
    return this.#series.get(seriesKey(name, labels))?.read();
  }
}

function seriesKey(name: string, labels: Labels): string {
  const parts = Object.keys(labels)
    .sort()
    .map((label) => `${label}=${labels[label]}`);
  return `${name}{${parts.join(',')}}`;
}
