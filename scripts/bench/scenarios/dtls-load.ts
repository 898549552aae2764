import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { dtlsCounters } from '../../../src/coap/dtls/counters.ts';
import { DtlsServer } from '../../../src/coap/dtls/dtls-server.ts';
import { defaultDtlsOptions } from '../../../src/coap/dtls/options.ts';
import { encode } from '../../../src/coap/index.ts';
import { Metrics } from '../../../src/telemetry/index.ts';
import { Client, type ClientOptions, suites } from '../../../test/coap/dtls/support/client.ts';
import { Daemon } from '../../../test/e2e/support/daemon.ts';
import { run } from '../../../test/e2e/support/process.ts';

/** What `dtls.js` runs: in a process with `--expose-gc`. Arguments: a directory, the daemon. A line of JSON for each figure. */

const [directory = '', daemonPath = ''] = process.argv.slice(2);
const quick = process.argv.includes('--quick');
const key = Buffer.alloc(16, 7);
/** Bytes of the head of a record (RFC 6347 §4.1): shorter is a late answer to the port's former owner. */
const recordHead = 13;
const collect = globalThis.gc ?? (() => undefined);

function show(figure: string, values: number | readonly number[], note = ''): void {
  console.log(JSON.stringify({ figure, values, note }));
}

class InProcess {
  readonly outbox: Buffer[] = [];
  /** Milliseconds spent in the server. */
  spent = 0;
  readonly server = new DtlsServer(
    {
      options: {
        ...defaultDtlsOptions,
        maxHellosPerSecond: 1e9,
        maxHandshakesPerSecond: 1e9,
        maxSessions: 1e6,
        maxSessionsPerAddress: 1e6,
        maxSessionsPerIdentity: 1e6,
      },
      wall: () => 0,
      psk: { keyOf: (identity) => (identity === 'dev' ? key : undefined) },
      counters: dtlsCounters(new Metrics()),
      random: randomBytes,
      sink: {
        send: (datagram) => this.outbox.push(datagram),
        received: () => undefined,
        ended: () => undefined,
      },
    },
    0,
  );

  arrive(datagrams: readonly Buffer[], port: number): Buffer[] {
    const begun = performance.now();
    for (const datagram of datagrams) this.server.received(datagram, '192.0.2.1', port, 1);
    this.spent += performance.now() - begun;
    return this.outbox.splice(0);
  }

  connect(port: number, options: ClientOptions = {}): Client {
    const client = new Client(options);
    for (let flight = client.start(); flight.length > 0; ) {
      flight = this.arrive(flight, port).flatMap((one) => client.receive(one));
    }
    if (!client.connected) throw new Error('no session');
    return client;
  }
}

function handshakes(): void {
  const count = quick ? 300 : 1_500;
  const bench = new InProcess();
  for (let n = 0; n < 200; n++) bench.connect(1);
  bench.spent = 0;
  const first = bench.connect(1);
  for (let n = 0; n < count; n++) bench.connect(1);
  show('full handshakes a second, the server’s part', Math.round((count * 1_000) / bench.spent));
  bench.spent = 0;
  for (let n = 0; n < count; n++) bench.connect(1, { resume: first.ticket });
  show('resumptions a second, the server’s part', Math.round((count * 1_000) / bench.spent));
  bench.spent = 0;
  const hellos = Array.from({ length: count }, () => new Client().start()).flat();
  bench.arrive(hellos, 2);
  show('hellos without a cookie answered a second', Math.round((count * 1_000) / bench.spent));
}

function memory(options: ClientOptions, name: string): void {
  const count = quick ? 1_000 : 5_000;
  const bench = new InProcess();
  for (let n = 0; n < 100; n++) bench.connect(60_000, options);
  const before = measure();
  for (let n = 1; n <= count; n++) {
    const client = bench.connect(n, options);
    // the client shows that it has the last flight
    bench.arrive([client.send('x')], n);
  }
  const after = measure();
  const per = (what: 'heapUsed' | 'arrayBuffers') => Math.round((after[what] - before[what]) / count);
  const resident = Math.round((after.rss - before.rss) / count);
  show(
    `bytes of a session, ${name}: heap and buffers`,
    per('heapUsed') + per('arrayBuffers'),
    `${per('arrayBuffers')} of it buffers; resident ${resident}`,
  );
  if (bench.server.sessions < count) throw new Error('sessions are missing');
}

function measure(): NodeJS.MemoryUsage {
  for (let n = 0; n < 5; n++) collect();
  return process.memoryUsage();
}

/** A closed loop: one request outstanding on each of `sockets`. */
async function requests(port: number, secure: boolean, sockets: number, seconds: number): Promise<number> {
  let done = 0;
  let running = true;
  const all = await Promise.all(
    Array.from({ length: sockets }, async (_, at) => {
      const socket = createSocket({ type: 'udp4', lookup: (host, _options, found) => found(null, host, 4) });
      const client = new Client({ suites: [suites.ccm8] });
      let mid = at * 1_000;
      const say = (datagrams: readonly Buffer[]) => {
        for (const one of datagrams) socket.send(one, port, '127.0.0.1');
      };
      const ask = () => {
        mid = (mid + 1) & 0xffff;
        const message = encode({
          type: 0,
          code: 2,
          messageId: mid,
          token: Buffer.from('0102', 'hex'),
          options: [
            [11, Buffer.from('ps')],
            [11, Buffer.from(`bench${at}`)],
          ],
          payload: Buffer.alloc(32, 120),
        });
        say([secure ? client.seal(23, Buffer.from(message)) : Buffer.from(message)]);
      };
      await new Promise<void>((resolve) => {
        socket.on('message', (datagram) => {
          if (secure && datagram.length < recordHead) return;
          if (!secure || client.connected) {
            if (secure) client.receive(datagram);
            done += 1;
            if (running) ask();
            return;
          }
          say(client.receive(datagram));
          if (client.connected) resolve();
        });
        socket.bind(0, '127.0.0.1', () => {
          if (secure) say(client.start());
          else resolve();
        });
      });
      return { socket, ask };
    }),
  );
  for (const { ask } of all) ask();
  await new Promise((resolve) => setTimeout(resolve, 500));
  done = 0;
  const begun = performance.now();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
  const rate = (done * 1_000) / (performance.now() - begun);
  running = false;
  for (const { socket } of all) socket.close();
  return rate;
}

async function daemon(): Promise<void> {
  writeFileSync(`${directory}/key`, key.toString('hex'));
  const toml = '[coap]\nlisten = ["coaps://127.0.0.1:0", "coap://127.0.0.1:0"]\n[limits]\ncoap_pending = 100000\n';
  const held = new Daemon(directory, toml, daemonPath);
  await run(daemonPath, ['psk', 'add', 'dev', '--config', held.configFile], key.toString('hex'));
  await held.start();
  try {
    const [plain, secure] = [await held.port('coap'), await held.port('coaps')];
    const rates = { plain: [] as number[], secure: [] as number[] };
    for (let round = 0; round < (quick ? 1 : 3); round++) {
      rates.plain.push(await requests(plain, false, 32, quick ? 1 : 3));
      rates.secure.push(await requests(secure, true, 32, quick ? 1 : 3));
    }
    show('publishes/s over coap, 32 clients', rates.plain.map(Math.round));
    show('publishes/s over coaps, 32 clients', rates.secure.map(Math.round));
    show(
      'coaps against coap',
      rates.secure.map((rate, round) => rate / (rates.plain[round] ?? 0)),
    );
    const before = held.memory;
    await Promise.all(Array.from({ length: 10 }, () => idle(secure, 100)));
    show('a thousand idle sessions in the daemon, resident kB more', Math.round((held.memory - before) / 1024));
  } finally {
    await held.kill('SIGTERM');
  }
}

/** Establishes sessions one after the other, from a socket each, and leaves them; one that gets no answer is tried again. */
async function idle(port: number, count: number): Promise<void> {
  for (let n = 0; n < count; ) {
    const socket = createSocket('udp4');
    const client = new Client();
    const connected = await new Promise<boolean>((resolve) => {
      const late = setTimeout(() => resolve(false), 1_000);
      socket.on('message', (datagram) => {
        if (datagram.length < recordHead) return;
        for (const one of client.receive(datagram)) socket.send(one, port, '127.0.0.1');
        if (!client.connected) return;
        clearTimeout(late);
        resolve(true);
      });
      for (const one of client.start()) socket.send(one, port, '127.0.0.1');
    });
    socket.close();
    if (connected) n += 1;
  }
}

handshakes();
memory({}, 'by address');
memory({ cid: Buffer.from('cid') }, 'with connection ids');
await daemon();
process.exit(0);
