import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, until } from './bench.js';

const floors = join(import.meta.dirname, 'floor-servers.js');

/** What each CoAP contender is, for the reader of the table. */
export const described = {
  echo: 'a bare node:dgram echo (the same datagram back)',
  coap: "the coap package's server, answering 2.04 and storing nothing",
  libcoap: "libcoap's coap-server-notls, PUT example_data: it keeps a copy of the last body in memory and answers 2.04",
  holdfast: 'the daemon, POST ps/bench/N: 2.04 after the fsync',
};

/** How the generator asks each: the echo is not judged by its answer. */
export const asked = {
  echo: { any: 1 },
  coap: {},
  libcoap: { method: 'put', path: 'example_data', topics: 0 },
  holdfast: {},
};

/** The configuration of a daemon with a CoAP listener alone. `rest`: more TOML. */
export const coapOnly = (port, coap = '', more = '') =>
  `[coap]\nlisten = ["coap://127.0.0.1:${port}"]\n${coap}[mqtt]\nlisten = []\n[rest]\nlisten = ""\n${more}`;

export const mqttOnly = (port, more = '') =>
  `[coap]\nlisten = []\n[mqtt]\nlisten = ["mqtt://127.0.0.1:${port}"]\n[rest]\nlisten = ""\n${more}`;

/** Starts one of the floors of `floor-servers.js` on a port of its own. */
export async function floor(bench, kind, env = {}) {
  const port = await freePort();
  return Object.assign(await bench.start(process.execPath, [floors, kind, port], /ready/, env), { port });
}

/** libcoap's server; undefined where it is missing. */
export async function libcoap(bench, extra = [], env = {}) {
  if (bench.peers.libcoap === undefined) return undefined;
  const port = await freePort();
  const args = ['-A', '127.0.0.1', '-p', port, '-v', '0', ...extra];
  const running = Object.assign(await bench.start(bench.peers.libcoap, args, undefined, env), { port });
  await until('coap-server-notls answers', () => answers(port));
  // its first PUT creates the resource's value and answers 2.01
  await bench.load({ port, clients: 1, total: 1, ...asked.libcoap });
  return running;
}

/** Whether a CoAP ping (RFC 7252 §4.3) is answered. */
function answers(port) {
  const socket = createSocket('udp4');
  return new Promise((resolve) => {
    const over = (answer) => {
      clearTimeout(late);
      socket.close();
      resolve(answer);
    };
    const late = setTimeout(() => over(false), 200);
    socket.on('message', () => over(true));
    socket.send(Buffer.from([0x40, 0, 0, 1]), port, '127.0.0.1');
  });
}

/** The contenders of a CoAP scenario that are there, `holdfast` last; `toml(port)` configures the daemon. */
export async function contenders(bench, names, toml) {
  const found = {};
  for (const name of names) {
    const server = name === 'libcoap' ? await libcoap(bench) : await floor(bench, name);
    if (server !== undefined) found[name] = server;
  }
  const port = await freePort();
  found.holdfast = Object.assign(await bench.daemon(toml?.(port) ?? coapOnly(port)), { port });
  return found;
}

/**
 * A mosquitto on a port of its own. No bound on what it keeps in flight and queues: with its default of 20 in flight the
 * one of Debian 12 leaves messages in the queue. `persistence true` is with its own defaults: saved every 30 minutes and at
 * the end, nothing is fsynced for a PUBACK.
 */
export async function mosquitto(bench, { persistence = false, port, more = '', env = {} } = {}) {
  const place = bench.place('mosquitto');
  const own = port ?? (await freePort());
  const config = join(place, 'mosquitto.conf');
  writeFileSync(
    config,
    `listener ${own} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\nuser root\n` +
      `persistence ${persistence}\npersistence_location ${place}/\nlog_type error\nlog_type information\n${more}`,
  );
  const running = await bench.start(bench.peers.mosquitto, ['-c', config], /mosquitto version .* running/, env);
  return Object.assign(running, { port: own, place });
}
