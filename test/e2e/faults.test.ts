import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { freePort } from '../support/ports.ts';
import { CoapDevice } from './support/coap-device.ts';
import { Collector } from './support/collector.ts';
import { Daemon, eventually } from './support/daemon.ts';
import { Ejabberd } from './support/ejabberd.ts';
import { FaultLedger } from './support/fault-ledger.ts';
import { FaultProxy } from './support/fault-proxy.ts';
import { NatsServer } from './support/nats.ts';
import { Mosquitto, scratch } from './support/peers.ts';
import { CoapPublisher, MqttPublisher, type Publisher } from './support/publisher.ts';

/**
 * An upstream broker that misbehaves in every way there is a name for, in an order that a seed decides, with kill -9 of
 * the gateway among it. Brokers of three makes: mosquitto (MQTT 5), nats-server (3.1.1) and, in the full run, ejabberd (MQTT 5).
 *
 *     CoAP, MQTT publishers ─▶ gateway ─▶ proxy ─▶ broker ─▶ witness (a session of its own, past the proxy)
 *     MQTT session, CoAP observer ◀─ gateway ◀─ proxy ◀─ broker ◀─ commander
 *
 * Who lost it. The proxy reads along. A message is safe once the broker's PUBACK (PUBCOMP) for it was seen there; what a
 * device was acknowledged and is not safe once the queue is empty, the gateway lost. What is safe and did not reach the
 * witness, the broker lost: mosquitto may only what it acknowledged in a run that a kill -9 ended, for it keeps its state in
 * memory and saves it once a second; the losses of the other two are counted and not judged: nats-server has some after other
 * ends too, and ejabberd forgets its sessions with every end.
 * A command is the gateway's once its PUBACK was seen at the proxy; not delivered, it is lost. What the broker accepted from
 * the commander has to become the gateway's, with the same exceptions, and one for the last command before an end; what
 * one of the other two sent to the gateway has to as long as that runs: what it has sent into a connection whose end it has not
 * seen, and is then stopped itself, it does not send again. That holds for the CoAP device as for the MQTT session: it notices
 * nothing of every other kill -9 of the gateway, and logs in anew after the rest.
 *
 * Repeats: one window for each link after the first, and for each kill one of each MQTT publisher, which sends what it was
 * not acknowledged again. Order: of the first copies at the proxy and at the witness, each is later than those before it;
 * of QoS 2 at the proxy alone, since a broker hands on what a resumed session releases when it likes.
 *
 * FAULT_SECONDS is the time per broker, of which all faults have their turn at least once; SEED repeats a run's order of faults;
 * BROKER names those that are run, two by default; FAULT_REPORT is a file that the figures are added to. `scripts/fault-test` is the full run.
 */
const seconds = Number(process.env.FAULT_SECONDS ?? 20);
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
const window = 64;
const pace = seconds > 120 ? 20 : 10;
/** Messages that one subscriber of the gateway has unacknowledged at most (`limits.mqtt_inflight`). */
const inflight = 20;

interface Broker {
  readonly port: number;
  readonly pid: number;
  start(): Promise<void>;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

interface Make {
  readonly name: string;
  readonly qos: 1 | 2;
  /** Whether what it acknowledged reaches its subscribers, but for what a kill -9 makes it forget. */
  readonly accountable: boolean;
  readonly make: (directory: string) => Promise<Broker>;
  /** Who connects to it says so. */
  readonly login?: { readonly username: string; readonly password: string };
}

const makes: readonly Make[] = [
  {
    name: 'mosquitto',
    qos: 2,
    accountable: true,
    make: async (directory) =>
      new Mosquitto(await freePort(), directory, { persistent: true, extra: 'autosave_interval 1\n' }),
  },
  {
    name: 'nats-server',
    qos: 1,
    accountable: false,
    make: async (directory) => new NatsServer(await freePort(), await freePort(), directory),
  },
  {
    name: 'ejabberd',
    qos: 2,
    accountable: false,
    make: async (directory) => new Ejabberd(await freePort(), directory),
    login: { username: 'site@localhost', password: 'any' },
  },
];
const wanted = (process.env.BROKER ?? 'mosquitto nats-server').split(' ');

const stopping: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of stopping.splice(0).reverse()) await stop();
});

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Numbers in [0, 1) that a seed decides (mulberry32). */
function seeded(from: number): () => number {
  let state = from | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Waits; whether it came about. What did not is in the figures. */
async function within(ms: number, holds: () => boolean | Promise<boolean>): Promise<boolean> {
  return eventually(holds, '', ms).then(
    () => true,
    () => false,
  );
}

describe.each(makes.filter(({ name }) => wanted.includes(name)))('upstream at a $name', (make) => {
  it(`lets go of no message over ${seconds} s of faults, seed ${seed}`, {
    timeout: 240_000 + seconds * 2_000,
  }, async () => {
    const place = scratch();
    stopping.push(() => place.remove());
    const random = seeded(seed);
    const between = (from: number, to: number) => from + random() * (to - from);
    const [coapPort, mqttPort, proxyPort] = [await freePort(), await freePort(), await freePort()];
    const broker = await make.make(place.path);
    await broker.start();
    stopping.push(() => broker.stop());

    const ledger = new FaultLedger('up/');
    const proxy = new FaultProxy(proxyPort, broker.port, ledger);
    await proxy.open();
    stopping.push(() => proxy.close());
    const witness = new Collector(broker.port, 'witness', make.login);
    await witness.ready('up/#');
    stopping.push(() => witness.stop());

    const password = join(place.path, 'password');
    if (make.login !== undefined) writeFileSync(password, make.login.password, { mode: 0o600 });
    const credentials =
      make.login === undefined ? '' : `username = "${make.login.username}"\npassword_file = "${password}"\n`;
    const daemon = new Daemon(
      place.path,
      `[coap]\nlisten = ["coap://127.0.0.1:${coapPort}"]\nmode = "connection"\n[mqtt]\nlisten = ["mqtt://127.0.0.1:${mqttPort}"]\n` +
        `[[upstream]]\nname = "cloud"\nurls = ["mqtt://127.0.0.1:${proxyPort}"]\nclient_id = "gw"\nwindow = ${window}\n${credentials}` +
        'keepalive = "2s"\nack_timeout = "2s"\nbackoff = { base = "20ms", cap = "500ms" }\ntopics = [\n' +
        `{ topic = "load/exact/#", direction = "out", qos = ${make.qos}, remote_prefix = "up/" },\n` +
        '{ topic = "load/#", direction = "out", qos = 1, remote_prefix = "up/" },\n' +
        '{ topic = "cmd/#", direction = "in", qos = 1 } ]\n',
    );
    await daemon.start();
    stopping.push(() => daemon.kill());
    const session = new Collector(mqttPort, 'panel');
    stopping.push(() => session.stop());
    await session.ready('cmd/mqtt');
    const device = new CoapDevice('valve', coapPort, 'cmd/coap', (payload) => ledger.delivered(payload));
    stopping.push(() => device.stop());
    await eventually(() => device.observing, 'the device observes');

    const publishers: Publisher[] = [];
    for (let n = 0; n < 4; n++) {
      const sensor = new CoapDevice(`coap${n}`, coapPort);
      stopping.push(() => sensor.stop());
      publishers.push(new CoapPublisher(`coap${n}`, () => coapPort, { pace, query: () => sensor.query }));
    }
    for (let n = 0; n < 3; n++) publishers.push(new MqttPublisher(`mqtt${n}`, mqttPort, { pace }));
    publishers.push(new MqttPublisher('twice', mqttPort, { pace, qos: 2 }));
    publishers.push(new MqttPublisher('exact/twice', mqttPort, { pace, qos: 2 }));
    const login = make.login === undefined ? {} : { login: make.login };
    const commanders = [
      new MqttPublisher('mqtt', broker.port, { prefix: 'cmd/', pace: 40, ...login }),
      new MqttPublisher('coap', broker.port, { prefix: 'cmd/', pace: 250, ...login }),
    ];
    for (const one of [...publishers, ...commanders]) stopping.push(() => one.stop());

    let kills = 0;
    let absences = 0;
    const killedRuns = new Set<number>();
    /** Commands that a broker may forget: of a run that a kill -9 ended, or the last before it ended otherwise. */
    const forgotten = new Set<string>();
    let runBegan = commanders.map(() => 0);
    const killGateway = async () => {
      kills += 1;
      await daemon.kill();
      // a device that the same power cut has hit begins anew, another one notices nothing
      if (kills % 2 === 0) device.forget();
      await pause(between(0, 300));
      await daemon.start();
    };
    const restartBroker = async (signal: 'SIGTERM' | 'SIGKILL', ms: number) => {
      if (signal === 'SIGKILL') killedRuns.add(ledger.run);
      await broker.stop(signal);
      await pause(ms);
      for (const [at, { name, acknowledged }] of commanders.entries()) {
        const accepted = acknowledged.slice(signal === 'SIGKILL' ? runBegan[at] : -1);
        for (const serial of accepted) forgotten.add(`${name}:${serial}`);
      }
      runBegan = commanders.map(({ acknowledged }) => acknowledged.length);
      ledger.run += 1;
      await broker.start();
    };
    // what a broker keeps in memory is on its disk once, so that a kill -9 leaves the sessions
    await restartBroker('SIGTERM', 0);
    await eventually(async () => (await daemon.status()).upstreams[0]?.state === 'connected', 'the link is up');
    const mended = async (ms: number) => {
      await pause(ms);
      proxy.mend();
    };
    const cut = async (way: 'up' | 'down') => {
      proxy.cut = way;
      await within(5_000, () => proxy.cut === undefined);
      proxy.mend();
    };
    const swallow = (ways: readonly ('up' | 'down')[], ms: number) => {
      proxy.swallow(ways);
      return mended(ms);
    };
    const faults: Readonly<Record<string, (ms: number) => Promise<unknown>>> = {
      stopped: (ms) => restartBroker('SIGTERM', ms),
      killed: (ms) => restartBroker('SIGKILL', ms),
      frozen: async (ms) => {
        process.kill(broker.pid, 'SIGSTOP');
        await pause(ms);
        process.kill(broker.pid, 'SIGCONT');
      },
      refused: async (ms) => {
        await proxy.close();
        await pause(ms);
        await proxy.open();
      },
      unauthorised: (ms) => {
        proxy.receive('refuse');
        return mended(ms);
      },
      unanswered: (ms) => {
        proxy.receive('silence');
        return mended(ms);
      },
      'cut up': () => cut('up'),
      'cut down': () => cut('down'),
      reset: async () => proxy.reset(),
      'hole up': (ms) => swallow(['up'], ms),
      'hole down': (ms) => swallow(['down'], ms),
      'hole both': (ms) => swallow(['up', 'down'], ms),
      delayed: (ms) => {
        proxy.delay = between(50, 600);
        return mended(ms);
      },
      'gateway killed': () => killGateway(),
      'session away': async (ms) => {
        absences += 1;
        await session.stop();
        await pause(ms);
        session.resume();
      },
    };
    const counts: Record<string, number> = Object.fromEntries(Object.keys(faults).map((kind) => [kind, 0]));
    const began = performance.now();
    const elapsed = () => (performance.now() - began) / 1_000;
    let round = 0;
    while (elapsed() < seconds || round === 0) {
      const bag = Object.keys(faults).sort();
      while (bag.length > 0 && (elapsed() < seconds || round === 0)) {
        const [kind = ''] = bag.splice(Math.floor(random() * bag.length), 1);
        // longer than what the gateway bears, now and then: 2 s without an acknowledgement, 15 s without a CONNACK
        const longest = round === 0 ? 2_500 : random() < 0.1 ? 20_000 : 4_000;
        const alsoKill = kind !== 'gateway killed' && random() < 0.15;
        const calm = between(0, 1_000);
        const ms = between(200, longest);
        counts[kind] = (counts[kind] ?? 0) + 1;
        if (alsoKill) counts['gateway killed'] = (counts['gateway killed'] ?? 0) + 1;
        const killAfter = between(0, ms);
        await Promise.all([faults[kind]?.(ms), alsoKill ? pause(killAfter).then(killGateway) : undefined]);
        await pause(calm);
        if (random() < 0.7)
          await within(20_000, async () => (await daemon.status()).upstreams[0]?.state === 'connected');
      }
      round += 1;
    }
    for (const one of [...commanders, ...publishers]) await one.stop();

    const emptied = await within(120_000, async () => {
      const [upstream] = (await daemon.status()).upstreams;
      return upstream?.state === 'connected' && upstream.queuedMessages === 0;
    });
    const names = publishers.map(({ name }) => name);
    const acknowledged = publishers.flatMap(({ name, acknowledged: list }) =>
      list.map((serial) => [name, serial] as const),
    );
    const lost = acknowledged.filter(([name, serial]) => ledger.safeIn(name, serial) === undefined);
    /** Safe, and not seen by the witness. */
    const unseen = () => {
      const seen = new Map(names.map((name) => [name, new Set(witness.received.get(name))]));
      return acknowledged.filter(
        ([name, serial]) => ledger.safeIn(name, serial) !== undefined && seen.get(name)?.has(serial) === false,
      );
    };
    const unexcused = () =>
      make.accountable ? unseen().filter(([name, serial]) => !killedRuns.has(ledger.safeIn(name, serial) ?? 0)) : [];
    await within(10_000, () => unseen().length === 0);
    await within(60_000, () => unexcused().length === 0);

    // what a broker acknowledged to the commander comes, but for what its end made it forget
    const untaken = () =>
      commanders
        .flatMap(({ name, acknowledged: list }) => list.map((serial) => `${name}:${serial}`))
        .filter((payload) => ledger.command(payload)?.taken !== true);
    const missing = () =>
      untaken().filter(
        (payload) => !forgotten.has(payload) && (make.accountable || ledger.command(payload)?.run === ledger.run),
      );
    await within(10_000, () => untaken().length === 0);
    await within(60_000, () => missing().length === 0);
    const undelivered = () => {
      const panel = new Set(session.received.get('mqtt'));
      const toPanel = ledger
        .commands('mqtt')
        .filter(([payload, { taken }]) => taken && !panel.has(Number(payload.slice('mqtt:'.length))));
      const toDevice = ledger.commands('coap').filter(([, { taken, delivered }]) => taken && delivered === 0);
      return [...toPanel, ...toDevice].map(([payload]) => payload);
    };
    await within(30_000, () => undelivered().length === 0);

    const sum = (numbers: readonly number[]) => numbers.reduce((total, n) => total + n, 0);
    const panelGot = session.received.get('mqtt') ?? [];
    const coapCommands = ledger.commands('coap').map(([, command]) => command);
    const mqttCommands = ledger.commands('mqtt').map(([, command]) => command);
    const reconnects = ledger.links - 1;
    const witnessed = sum(names.map((name) => new Set(witness.received.get(name)).size));
    const figures = {
      broker: make.name,
      seed,
      seconds: Math.round(elapsed()),
      faults: counts,
      acknowledged: acknowledged.length,
      delivered: acknowledged.length - lost.length,
      lost: lost.length,
      duplicates: ledger.repeats,
      allowed: window * reconnects + 5 * kills,
      misplaced: ledger.misplaced,
      refused: ledger.refusals.length,
      witness: { seen: witnessed, lostByBroker: unseen().length },
      downlinks: {
        sent: sum(commanders.map(({ acknowledged: list }) => list.length)),
        acknowledged: [...mqttCommands, ...coapCommands].filter(({ taken }) => taken).length,
        missing: missing().length,
        lostByBroker: untaken().length - missing().length,
        lost: undelivered().length,
        duplicates:
          panelGot.length -
          new Set(panelGot).size +
          sum(coapCommands.map(({ delivered }) => Math.max(0, delivered - 1))),
        allowed:
          sum([...mqttCommands, ...coapCommands].map(({ offered }) => Math.max(0, offered - 1))) +
          inflight * (kills + absences),
      },
      reconnects,
    };
    console.log(JSON.stringify(figures));
    if (process.env.FAULT_REPORT !== undefined)
      appendFileSync(process.env.FAULT_REPORT, `${JSON.stringify(figures)}\n`);

    expect(emptied, `the queue is empty: ${daemon.output.slice(-2_000)}`).toBe(true);
    expect(lost.slice(0, 20)).toEqual([]);
    expect(unexcused().slice(0, 20)).toEqual([]);
    expect(ledger.refusals).toEqual([]);
    expect(ledger.misplaced).toBe(0);
    expect(ledger.repeats).toBeLessThanOrEqual(figures.allowed);
    for (const name of names.filter((one) => one !== 'exact/twice')) {
      expect([name, outOfOrder(witness.received.get(name) ?? [])]).toEqual([name, []]);
    }
    expect(acknowledged.length).toBeGreaterThan(seconds * 20);
    expect(undelivered().slice(0, 20)).toEqual([]);
    expect(figures.downlinks.duplicates).toBeLessThanOrEqual(figures.downlinks.allowed);
    expect(figures.downlinks.acknowledged).toBeGreaterThan(seconds);
    expect(coapCommands.some(({ delivered }) => delivered > 0)).toBe(true);
    expect(device.logins).toBeLessThanOrEqual(2 + kills / 2);
    expect(missing().slice(0, 20)).toEqual([]);
  });
});

/** Serials whose first copy came after that of a later one. */
function outOfOrder(received: readonly number[]): number[] {
  const seen = new Set<number>();
  let highest = 0;
  return received.filter((serial) => {
    if (seen.has(serial)) return false;
    seen.add(serial);
    const late = serial < highest;
    highest = Math.max(highest, serial);
    return late;
  });
}
