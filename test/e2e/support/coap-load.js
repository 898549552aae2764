/**
 * A closed-loop CoAP load in a process of its own: N clients, one request outstanding each. Packets are made by hand, so
 * that the generator costs little more than the sockets. Sends one JSON line with what it saw when the time is over.
 *
 * `think`: milliseconds between an answer and the client's next request. `heartbeat`: how often the clients that do not
 * publish show themselves.
 *
 * Usage: coap-load.js '{"port":5683,"clients":64,"seconds":4,"mode":"publish"|"echo"|"connect+publish","total":0}'
 */

import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';

const options = {
  host: '127.0.0.1',
  clients: 64,
  seconds: 4,
  payload: 32,
  mode: 'publish',
  total: 0,
  active: 0,
  heartbeat: 0,
  think: 0,
  ...JSON.parse(process.argv[2] ?? '{}'),
};
const payload = Buffer.alloc(options.payload, 0x78);
const latencies = [];
let done = 0;
let errors = 0;
const refused = {};

function expect(data, code) {
  if (data[1] === code) return;
  errors += 1;
  const text = `${data[1] >> 5}.${String(data[1] & 31).padStart(2, '0')} ${data.subarray(data.indexOf(0xff, 8) + 1)}`;
  refused[text] = (refused[text] ?? 0) + 1;
}
let stopping = false;

function option(delta, value) {
  const bytes = Buffer.from(value);
  if (bytes.length < 13) return Buffer.concat([Buffer.from([(delta << 4) | bytes.length]), bytes]);
  if (bytes.length < 269) return Buffer.concat([Buffer.from([(delta << 4) | 13, bytes.length - 13]), bytes]);
  throw new Error('option too long');
}

function request(method, path, query, body) {
  const options = path.map((segment, index) => option(index === 0 ? 11 : 0, segment));
  for (const [index, one] of query.entries()) options.push(option(index === 0 ? 4 : 0, one));
  const tail = body.length === 0 ? [] : [Buffer.from([0xff]), body];
  return Buffer.concat([Buffer.from([0x44, method, 0, 0, 1, 2, 3, 4]), ...options, ...tail]);
}

class Client {
  constructor(index) {
    this.index = index;
    this.mid = randomBytes(2).readUInt16BE();
    this.socket = createSocket({ type: 'udp4', lookup: (host, _options, callback) => callback(null, host, 4) });
    this.packet = request(2, ['ps', 'bench', `${index % 100}`], [], payload);
    this.answered = () => undefined;
    this.sentAt = 0;
    this.timer = undefined;
    this.socket.on('message', (data) => {
      if (data.readUInt16BE(2) !== this.mid) return;
      clearTimeout(this.timer);
      this.answered(data);
    });
  }

  bind() {
    return new Promise((resolve) => this.socket.bind(0, options.host, resolve));
  }

  /** Sends and calls back with the answer; sends again after a second, as a CON is. */
  exchange(packet, answered) {
    this.mid = (this.mid + 1) & 0xffff;
    packet.writeUInt16BE(this.mid, 2);
    this.answered = answered;
    this.transmit(packet, 1000);
  }

  transmit(packet, wait) {
    this.socket.send(packet, options.port, options.host);
    if (options.mode === 'echo') return;
    this.timer = setTimeout(() => this.transmit(packet, wait * 2), wait);
  }

  loop() {
    if (stopping) return;
    const begun = performance.now();
    this.exchange(this.packet, (data) => {
      if (options.mode !== 'echo') expect(data, 0x44);
      done += 1;
      latencies.push(performance.now() - begun);
      if (options.total > 0 && done >= options.total) finish();
      else if (options.think > 0) setTimeout(() => this.loop(), options.think);
      else this.loop();
    });
  }

  connect() {
    return new Promise((resolve) => {
      const packet = request(2, ['mqtt', 'connection'], [`clientid=bench-${this.index}`], Buffer.alloc(0));
      this.exchange(packet, (data) => {
        const token = data.subarray(data.indexOf(0xff, 8) + 1).toString();
        expect(data, 0x41);
        this.query = [`c=bench-${this.index}`, `t=${token}`];
        this.packet = request(2, ['ps', 'bench', `${this.index % 100}`], this.query, payload);
        resolve();
      });
    });
  }

  beat() {
    return new Promise((resolve) => {
      this.exchange(request(3, ['mqtt', 'connection'], this.query, Buffer.alloc(0)), (data) => {
        expect(data, 0x41);
        resolve();
      });
    });
  }
}

const clients = Array.from({ length: options.clients }, (_, index) => new Client(index));
let begun = 0;
let cpu = process.cpuUsage();

function finish() {
  if (stopping) return;
  stopping = true;
  const seconds = (performance.now() - begun) / 1000;
  const used = process.cpuUsage(cpu);
  latencies.sort((a, b) => a - b);
  const at = (share) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0;
  const result = {
    done,
    errors,
    refused,
    seconds,
    rate: done / seconds,
    p50: at(0.5),
    p99: at(0.99),
    max: at(1),
    cpu: (used.user + used.system) / 1e6,
  };
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
}

await Promise.all(clients.map((client) => client.bind()));
if (options.mode === 'connect+publish') {
  // a hundred at a time: ten thousand CONs at once is a flood, not a plant
  for (let at = 0; at < clients.length; at += 100)
    await Promise.all(clients.slice(at, at + 100).map((client) => client.connect()));
}
begun = performance.now();
cpu = process.cpuUsage();
const publishing = options.active > 0 ? clients.slice(0, options.active) : clients;
if (options.total > 0 && options.mode === 'connect+publish' && options.active === 0) {
  // every client takes its turn, 256 of them at any moment
  let next = 0;
  const turn = () => {
    if (stopping) return;
    const client = clients[next++ % clients.length];
    const sent = performance.now();
    client.exchange(client.packet, (data) => {
      expect(data, 0x44);
      done += 1;
      latencies.push(performance.now() - sent);
      if (done >= options.total) finish();
      else turn();
    });
  };
  for (let n = 0; n < Math.min(256, clients.length); n++) turn();
} else {
  for (const client of publishing) client.loop();
}
if (options.heartbeat > 0) {
  let next = publishing.length;
  const idle = clients.length - publishing.length;
  if (idle > 0) {
    // by the clock, not by the tick: a busy generator makes up for what it missed
    let beaten = 0;
    setInterval(() => {
      const due = Math.floor((idle * (performance.now() - begun)) / options.heartbeat);
      for (; beaten < due; beaten++) {
        const client = clients[next];
        next = next + 1 >= clients.length ? publishing.length : next + 1;
        void client.beat();
      }
    }, 50);
  }
}
if (options.seconds > 0) setTimeout(finish, options.seconds * 1000);
