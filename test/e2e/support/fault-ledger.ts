import type { Traffic } from './fault-proxy.ts';

/** What became of one publisher's messages at the proxy. Indexed by serial; serials begin at 1. */
interface Upward {
  /** How often the gateway sent it. */
  readonly sent: number[];
  /** The run of the broker that acknowledged it. */
  readonly safe: number[];
  highest: number;
}

interface Downward {
  /** How often the broker sent it to the gateway, and in which of its runs last. */
  offered: number;
  run: number;
  /** Whether the gateway acknowledged it. */
  taken: boolean;
  delivered: number;
}

/**
 * Who had which message when, as read at the proxy. So that a loss is the loser's: a message from a device is safe once
 * the broker acknowledged it, whatever the broker does with it afterwards, and a command is the gateway's once the
 * gateway acknowledged it.
 */
export class FaultLedger implements Traffic {
  /** Connections that a broker accepted. */
  links = 0;
  /** Of the broker, counted by the test: 1, 2, … */
  run = 1;
  /** PUBLISH packets beyond the first for a message. */
  repeats = 0;
  /** Messages whose first PUBLISH came after that of a later one of the same publisher. */
  misplaced = 0;
  readonly refusals: string[] = [];
  readonly #upward = new Map<string, Upward>();
  readonly #downward = new Map<string, Downward>();
  readonly #prefix: string;

  /** `prefix` of the topics from publishers, at the broker. */
  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  linked(): void {
    this.links += 1;
  }

  published(topic: string, payload: string): void {
    if (!topic.startsWith(this.#prefix)) return;
    const { name, serial } = parts(payload);
    const upward = this.#from(name);
    const times = upward.sent[serial] ?? 0;
    upward.sent[serial] = times + 1;
    if (times > 0) this.repeats += 1;
    else if (serial < upward.highest) this.misplaced += 1;
    upward.highest = Math.max(upward.highest, serial);
  }

  acknowledged(payload: string): void {
    const { name, serial } = parts(payload);
    const upward = this.#upward.get(name);
    if (upward?.sent[serial] !== undefined) upward.safe[serial] = this.run;
  }

  refused(payload: string, code: number): void {
    this.refusals.push(`${payload} 0x${code.toString(16)}`);
  }

  offered(_topic: string, payload: string): void {
    const command = this.#command(payload);
    command.offered += 1;
    command.run = this.run;
  }

  taken(payload: string): void {
    this.#command(payload).taken = true;
  }

  /** A command reached the device or the session that it is for. */
  delivered(payload: string): void {
    this.#command(payload).delivered += 1;
  }

  /** The broker's run that acknowledged a message; undefined where none did. */
  safeIn(name: string, serial: number): number | undefined {
    return this.#upward.get(name)?.safe[serial];
  }

  command(payload: string): Readonly<Downward> | undefined {
    return this.#downward.get(payload);
  }

  commands(name: string): readonly (readonly [string, Readonly<Downward>])[] {
    return [...this.#downward].filter(([payload]) => payload.startsWith(`${name}:`));
  }

  #from(name: string): Upward {
    const known = this.#upward.get(name);
    if (known !== undefined) return known;
    const made: Upward = { sent: [], safe: [], highest: 0 };
    this.#upward.set(name, made);
    return made;
  }

  #command(payload: string): Downward {
    const known = this.#downward.get(payload);
    if (known !== undefined) return known;
    const made: Downward = { offered: 0, run: 0, taken: false, delivered: 0 };
    this.#downward.set(payload, made);
    return made;
  }
}

function parts(payload: string): { name: string; serial: number } {
  const at = payload.lastIndexOf(':');
  return { name: payload.slice(0, at), serial: Number(payload.slice(at + 1)) };
}
