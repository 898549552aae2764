import { writeSync } from 'node:fs';
import { bootOf } from '../../../src/domain/index.ts';
import type { Log } from '../../../src/log/index.ts';
import { message } from '../../log/support.ts';
import { logAt, upstream } from './log.ts';
import { generator, payloadOf } from './payload.ts';

/**
 * A gateway's log at work, until the power goes: it appends, an upstream takes, acknowledges and reads, and what is said about
 * it on standard output has happened. A line each:
 *
 * `boot N`  `took ID SERIAL` accepted, nothing promised yet  `acknowledged ID`  `delivered ID`
 * `place ID`: the cursor is on the disk, at that id or behind it  `failed REASON`
 *
 * Arguments: the state directory, a seed, the first serial number, how many messages, LevelDB's buffer in bytes.
 */
const [directory = '', seed = '', firstSerial = '', most = '', buffer = ''] = process.argv.slice(2);
const random = generator(Number(seed));
// `process.stdout` would keep what the pipe does not take at once, and lose it
const say = (line: string) => writeSync(1, `${line}\n`);

const { log, clock, space, start } = logAt(directory, Number(buffer));

const window = 32;

/** Takes what it can, acknowledges it in any order, and moves its cursor as far as it has everything. */
class Upstream {
  readonly #log: Log;
  #online = true;
  #at: bigint;
  #reading = false;
  readonly #inFlight = new Set<bigint>();
  /** Acknowledged and not below the cursor; rising. */
  #acknowledged: bigint[] = [];
  readonly #before: (id: bigint) => boolean;

  constructor(log: Log) {
    this.#log = log;
    this.#at = log.cursor(upstream) ?? 0n;
    const done = [...log.done(upstream)];
    this.#before = (id) => done.some(({ from, to }) => id >= from && id < to);
    for (const { from, to } of done) for (let id = from; id < to; id++) this.#acknowledged.push(id);
    log.deliverThrough({ takes: (_message, id) => this.#takes(id) });
    log.onCommit(() => void this.#read());
    void this.#read();
  }

  has(id: bigint): boolean {
    return id < (this.#log.cursor(upstream) ?? 0n) || this.#acknowledged.includes(id);
  }

  /** The link goes, or comes back. */
  turn(): void {
    this.#online = !this.#online;
    void this.#read();
  }

  #takes(id: bigint): 'now' | 'later' {
    if (!this.#online || this.#reading || this.#at !== id || this.#inFlight.size >= window) return 'later';
    this.#send(id);
    this.#at = id + 1n;
    return 'now';
  }

  #send(id: bigint): void {
    this.#inFlight.add(id);
    clock.after('acknowledgement', random() * 200, () => this.#acknowledge(id));
  }

  #acknowledge(id: bigint): void {
    this.#inFlight.delete(id);
    this.#acknowledged.push(id);
    this.#acknowledged.sort((one, other) => (one < other ? -1 : 1));
    say(`delivered ${id}`);
    this.#log.events.record({ kind: 'delivered', message: id, clientId: 'a@app', qos: 1 });
    this.#log.delivered(id);
    let cursor = this.#at;
    for (const waiting of this.#inFlight) if (waiting < cursor) cursor = waiting;
    this.#acknowledged = this.#acknowledged.filter((one) => one >= cursor);
    const spans: { from: bigint; to: bigint }[] = [];
    for (const one of this.#acknowledged) {
      const last = spans.at(-1);
      if (last?.to === one) last.to = one + 1n;
      else spans.push({ from: one, to: one + 1n });
    }
    this.#log.moveCursor(upstream, cursor, spans);
    void this.#read();
  }

  async #read(): Promise<void> {
    if (this.#reading || !this.#online) return;
    this.#reading = true;
    for (let more = true; more && this.#online && this.#inFlight.size < window; ) {
      const page = await this.#log.read(this.#at, { records: window - this.#inFlight.size, bytes: 64 << 10 });
      for (const { id } of page.messages) if (!this.#before(id)) this.#send(id);
      more = page.next !== this.#at || this.#at < this.#log.next;
      this.#at = page.next;
      if (more) continue;
      // what is not on the disk yet is read in memory
      const ahead = this.#log.ahead(this.#at);
      for (const { id } of ahead.messages) this.#send(id);
      this.#at = ahead.next;
    }
    this.#reading = false;
  }
}

async function work(): Promise<void> {
  await start();
  say(`boot ${bootOf(log.next)}`);
  const cloud = new Upstream(log);
  let serial = Number(firstSerial);
  const end = serial + Number(most);
  while (serial < end) {
    if (random() < 0.1) cloud.turn();
    if (random() < 0.1) space.next = random() < 0.5 ? 'low' : 'fine';
    const waiting: Promise<void>[] = [];
    for (let n = Math.floor(random() * 20); n >= 0; n--) {
      waiting.push(append(serial, cloud));
      serial += 1;
    }
    if (random() < 0.7) await Promise.all(waiting);
    else await Promise.race(waiting);
  }
}

function append(serial: number, cloud: Upstream): Promise<void> {
  return new Promise((resolve) => {
    const place = log.cursor(upstream) ?? 0n;
    const id = log.append(message(payloadOf(serial)), (error) => {
      if (error !== undefined) say(`failed ${error.message}`);
      else {
        say(`acknowledged ${id}`);
        // by the disk, then: the commit took the cursor along
        if (!cloud.has(id)) say(`place ${place}`);
      }
      resolve();
    });
    say(`took ${id} ${serial}`);
  });
}

work().then(
  () => process.kill(process.pid, 'SIGKILL'),
  (thrown) => {
    say(`failed ${String(thrown)}`);
    process.kill(process.pid, 'SIGKILL');
  },
);
