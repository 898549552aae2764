import mqtt from 'mqtt';
import { freePort, status } from '../bench.js';
import { cpuSeconds, pause, ratios, row } from '../measure.js';
import { coapOnly, mosquitto } from '../peers.js';
import { upstream } from './modes.js';

const window = 64;

/** A backlog drained to a mosquitto on loopback, against a bare mqtt.js loop with the same window, QoS and payload. */
export async function drain(bench) {
  if (bench.peers.mosquitto === undefined) throw new Error('mosquitto is missing');
  const total = bench.pick(100_000, 20_000);
  const [coap, broker] = [await freePort(), await freePort()];
  const daemon = await bench.daemon(coapOnly(coap, '', upstream(broker, `window = ${window}\n`)));
  const ours = [];
  const bare = [];
  const cpu = [];
  for (let round = 0; round < bench.pick(5, 2); round++) {
    await bench.load({ port: coap, clients: 64, total });
    const peer = await mosquitto(bench, { port: broker });
    const used = cpuSeconds(daemon.pid);
    ours.push(await drained(daemon.stateDir, total));
    cpu.push(((cpuSeconds(daemon.pid) - used) / total) * 1e6);
    bare.push(await bareLoop(broker, total));
    await bench.stop(peer);
    await pause(300);
  }
  return [
    row(`draining ${total} messages, per second`, ours, { digits: 0 }),
    row('a bare mqtt.js loop, per second', bare, { digits: 0 }),
    row('CPU of the daemon for a message drained, µs', cpu, { digits: 1 }),
    row('against the bare loop', ratios(ours, bare), { target: '>= 0.85' }),
  ];
}

async function drained(stateDir, total) {
  let begun = 0;
  let first = 0;
  for (const late = performance.now() + 120_000; performance.now() < late; await pause(10)) {
    const [{ queuedMessages }] = (await status(stateDir)).upstreams;
    const now = performance.now();
    if (begun === 0 && queuedMessages < total) {
      begun = now;
      first = queuedMessages;
    }
    if (queuedMessages === 0) return first / ((now - begun) / 1_000);
  }
  throw new Error('not drained in two minutes');
}

async function bareLoop(port, total) {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { protocolVersion: 5, reconnectPeriod: 0 });
  const payload = Buffer.alloc(32, 0x78);
  const begun = performance.now();
  await new Promise((resolve, reject) => {
    client.once('close', () => reject(new Error('the broker closed the connection')));
    let sent = 0;
    let acknowledged = 0;
    const next = () => {
      while (sent < total && sent - acknowledged < window) {
        sent += 1;
        client.publish('bench/1', payload, { qos: 1 }, () => {
          acknowledged += 1;
          if (acknowledged === total) resolve();
          else next();
        });
      }
    };
    next();
  });
  const seconds = (performance.now() - begun) / 1000;
  await client.endAsync();
  return total / seconds;
}
