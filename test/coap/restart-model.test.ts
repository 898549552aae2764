import { describe, expect, it } from 'vitest';
import { settle } from '../log/support.ts';
import { generator } from '../support/damage.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { type Disks, type Site, startSite } from './support/site.ts';
import { type Ask, empty, intOf, MemoryTransport, request } from './support/wire.ts';

/**
 * A device and a gateway that both may begin anew at any moment. Of what is acknowledged while the device is subscribed
 * nothing is lost to it, and nothing overtakes; of what is retained it comes to know each topic's newest.
 *
 * RUNS is the number of runs, SEED the first one's.
 */
const runs = Number(process.env.RUNS ?? 60);
const firstSeed = Number(process.env.SEED ?? 1);
/** What was found once. */
const found = [1_015, 1_164, 2_551, 4_963];
const steps = 40;
/** Topics with a retained message, whose payloads are `topic=number`. */
const settings = ['cmd/a', 'cmd/b', 'cmd/c'];

/**
 * A device that keeps to the API: logs in, observes, shows itself, answers what it knows with ACK and the rest with RST. An
 * `obliging` one answers all with ACK, and knows its former observation until it asks for another.
 */
class Device {
  readonly #obliging: boolean;
  readonly received: string[] = [];
  /** What it knows of the retained topics. */
  readonly settings = new Map<string, string>();
  port = 1_000;
  answering = true;
  #site: Site | undefined;
  #transport = new MemoryTransport();
  #looked = 0;
  #mid = 0;
  #observation = '';
  #observations = 0;
  #sequence = -1;
  #who: readonly string[] = [];
  readonly #seen = new Set<number>();
  /** Sequence numbers that a client would take for older ones. */
  stale = 0;

  constructor(obliging: boolean) {
    this.#obliging = obliging;
  }

  plug(site: Site, transport: MemoryTransport): void {
    this.#site = site;
    this.#transport = transport;
    this.#looked = 0;
    this.#seen.clear();
  }

  /** Logs in and subscribes, as after a reboot; before the gateway has the subscription something happens. */
  async begin(between?: () => Promise<void>): Promise<void> {
    if (!this.#obliging) this.forget();
    const login = await this.#ask({ code: 2, path: 'mqtt/connection', query: ['clientid=dev'] });
    expect(login.slice(0, 4)).toBe('2.01');
    this.#who = ['clientid=dev', `token=${login.slice(5)}`];
    await this.subscribe(between);
  }

  /** Logs in again where the gateway does not know it, which may have begun anew between the login and this. */
  async subscribe(before?: () => Promise<void>): Promise<void> {
    this.settings.clear();
    this.#observations += 1;
    this.#observation = `b${this.#observations.toString(16).padStart(5, '0')}`;
    this.#sequence = -1;
    const query = [...this.#who, 'qos=1'];
    await before?.();
    await this.answer();
    const answer = await this.#ask({ code: 1, path: 'ps/cmd/#', observe: 0, token: this.#observation, query });
    if (answer.startsWith('4.01')) return this.begin();
    expect(answer).toBe('2.05');
    await this.answer();
  }

  async beat(): Promise<void> {
    expect(await this.#ask({ code: 3, path: 'mqtt/connection', query: this.#who })).toBe('2.01');
    await this.answer();
  }

  /** Does not know its observation any more. */
  forget(): void {
    this.#observation = '';
    this.settings.clear();
  }

  get observing(): boolean {
    return this.#observation !== '';
  }

  /** Answers what came. */
  async answer(): Promise<void> {
    for (let rounds = 0; this.answering && this.#looked < this.#transport.sent.length && rounds < 1_000; rounds++) {
      const one = this.#transport.sent[this.#looked++];
      if (one === undefined || one.type !== 'CON' || one.to !== `192.0.2.1:${this.port}`) continue;
      const known = one.token === this.#observation;
      if (known && !this.#seen.has(one.mid)) {
        const sequence = intOf(one.options[6]) ?? -1;
        const ahead = (sequence - this.#sequence) & 0xff_ffff;
        if (this.#sequence !== -1 && (ahead === 0 || ahead >= 0x80_0000)) this.stale += 1;
        this.#sequence = sequence;
        const [topic = '', value] = one.payload.split('=');
        if (value === undefined) this.received.push(one.payload);
        else this.settings.set(topic, value);
      }
      if (known) this.#seen.add(one.mid);
      await this.#arrive(empty(known || this.#obliging ? 'ACK' : 'RST', one.mid));
    }
  }

  async #ask(given: Ask): Promise<string> {
    this.#mid = (this.#mid + 1) % 65_536;
    const before = this.#transport.sent.length;
    await this.#arrive(request({ ...given, mid: this.#mid }));
    const answer = this.#transport.sent.slice(before).find((one) => one.mid === this.#mid && one.type === 'ACK');
    return answer === undefined ? 'nothing' : `${answer.code} ${answer.payload}`.trim();
  }

  async #arrive(datagram: Buffer): Promise<void> {
    this.#transport.listener?.received(datagram, '192.0.2.1', this.port);
    if (this.#site !== undefined) await settle(this.#site.clock, 6);
  }
}

async function play(seed: number, obliging: boolean): Promise<string[]> {
  const random = generator(seed);
  const below = (n: number) => Math.floor(random() * n);
  const clock = new FakeClock();
  const device = new Device(obliging);
  let disks: Disks | undefined;
  let site = undefined as unknown as Site;
  const boot = async () => {
    const transport = new MemoryTransport();
    site = await startSite(() => [transport], { clock, ...(disks === undefined ? {} : { disks }) });
    disks = site.disks;
    device.plug(site, transport);
  };
  await boot();
  const acknowledged: string[] = [];
  let count = 0;
  const trace: string[] = [];
  const set = (topic: string) => site.publish(topic, `${topic}=${count++}`, { retain: true, qos: 1 });
  for (const topic of settings) await set(topic);
  await device.begin();
  const publish = async () => {
    const payload = `${count++}`;
    const message = { payload: Buffer.from(payload), topic: 'cmd', qos: 1 as const, retain: false, expiry: 0 };
    const origin = { origin: 'rest' as const, upstream: '', clientId: '', username: '', connection: 0n };
    const { pipeline } = site;
    pipeline.publish({ ...message, ...origin }, (error) => {
      // a process that was killed tells nobody any more
      if (error === undefined && pipeline === site.pipeline) acknowledged.push(payload);
    });
    if (random() < 0.8) await settle(clock, 6);
  };
  const ends = {
    stopped: async () => {
      await site.stop();
      await boot();
    },
    killed: async () => {
      disks = { ...site.disks, log: site.disks.log.afterPowerCut(0), sessions: site.disks.sessions.afterPowerCut(0) };
      await boot();
    },
    'power cut': async () => {
      const { log, sessions } = site.disks;
      disks = { ...site.disks, log: log.afterPowerCut(below(4)), sessions: sessions.afterPowerCut(below(4)) };
      await boot();
    },
  };
  const restart = () => [ends.stopped, ends.killed, ends['power cut']][below(3)]?.();
  const actions: Readonly<Record<string, () => Promise<void> | void>> = {
    publish,
    'publish some': async () => {
      for (let n = 1 + below(8); n > 0; n--) await publish();
    },
    'a setting changes': () => set(settings[below(settings.length)] ?? ''),
    answer: () => device.answer(),
    'falls silent': () => {
      device.answering = false;
    },
    'answers again': () => {
      device.answering = true;
    },
    wait: async () => {
      clock.advance(below(9_000));
      await settle(clock, 6);
    },
    beat: () => device.beat(),
    moves: async () => {
      device.port += 1;
      await device.beat();
    },
    'device begins anew': async () => {
      if (random() < 0.5) device.port += 1;
      await device.begin(
        random() < 0.5
          ? undefined
          : async () => {
              await publish();
              if (random() < 0.7) await restart();
              await publish();
            },
      );
    },
    'device forgets the observation': async () => {
      if (!obliging) device.forget();
      await device.answer();
      if (random() < 0.7) await device.subscribe();
    },
    'clock steps': () => clock.step((random() - 0.5) * 1e11),
    ...ends,
  };
  const names = Object.keys(actions);
  for (let step = 0; step < steps; step++) {
    const name = names[below(names.length)] ?? '';
    trace.push(name);
    await actions[name]?.();
    // it shows itself before it would be given up
    if (step % 3 === 2) await device.beat();
    if (!device.observing && random() < 0.5) await device.subscribe();
  }
  device.answering = true;
  if (!device.observing) await device.subscribe();
  for (let round = 0; round < 12; round++) {
    await device.beat();
    clock.advance(4_000);
    await settle(clock);
    await device.answer();
  }
  const problems: string[] = [];
  const got = new Set(device.received);
  const lost = acknowledged.filter((payload) => !got.has(payload));
  if (lost.length > 0) problems.push(`lost ${lost.join(', ')} of ${count}`);
  const firsts = [...got].map(Number);
  if (firsts.some((payload, at) => payload < (firsts[at - 1] ?? -1))) problems.push(`order ${firsts.join(' ')}`);
  if (device.stale > 0) problems.push(`${device.stale} sequence numbers are older`);
  const known = settings.map((topic) => `${topic}=${device.settings.get(topic)}`).join(' ');
  const right = settings.map((topic) => String(site.pipeline.retained.get(topic)?.payload)).join(' ');
  if (known !== right) problems.push(`${known} is known of ${right}`);
  const owed = site.base.metrics.value('holdfast_coap_owed_messages');
  if (owed !== 0) problems.push(`${owed} still owed`);
  await site.stop();
  return problems.map((problem) => `seed ${seed}: ${problem}; ${trace.join(', ')}`);
}

describe('a connected device and its gateway', () => {
  it.each([
    ['that refuses what it does not know', false],
    ['that acknowledges whatever it is sent', true],
  ])(
    `lose nothing between them, whoever begins anew: a device %s, in ${runs} runs`,
    {
      timeout: 60_000 + runs * 2_000,
    },
    async (_device, obliging) => {
      const problems: string[] = [];
      const seeds = [...found, ...Array.from({ length: runs }, (_, at) => firstSeed + at)];
      for (const seed of seeds) problems.push(...(await play(seed, obliging)));
      expect(problems).toEqual([]);
    },
  );
});
