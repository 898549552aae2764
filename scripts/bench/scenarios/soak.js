import { freePort } from '../bench.js';
import { cpuSeconds, pause, resident, row } from '../measure.js';

/**
 * A plant for an hour (`--soak-minutes`): a thousand connected clients, 500 publishes/s and their heartbeats, a hundred MQTT
 * publishers. What the memory was after a tenth of the time and is at the end.
 */
export async function soak(bench) {
  const seconds = bench.quick ? 20 : bench.soakMinutes * 60;
  const [coap, mqtt] = [await freePort(), await freePort()];
  const daemon = await bench.daemon(
    `[coap]\nlisten = ["coap://127.0.0.1:${coap}"]\nmode = "connection"\n[mqtt]\nlisten = ["mqtt://127.0.0.1:${mqtt}"]\n[rest]\nlisten = ""\n`,
  );
  const idle = resident(daemon.pid);
  const devices = bench.generate('coap-load', {
    port: coap,
    clients: 1000,
    connect: 1,
    rate: 500,
    beats: 1000 / 20,
    seconds,
  });
  const plant = bench.generate('mqtt-load', {
    port: mqtt,
    prefix: 'plant',
    publishers: 100,
    subscribers: 1,
    qos: 1,
    clean: 0,
    rate: 100,
    seconds,
  });
  await Promise.all([devices.ready, plant.ready]);
  const used = cpuSeconds(daemon.pid);
  const seen = [];
  for (let part = 0; part < 20; part++) {
    await pause(seconds * 49);
    seen.push(resident(daemon.pid) / 1e6);
  }
  const share = (100 * (cpuSeconds(daemon.pid) - used)) / (seconds * 0.98);
  const [fromDevices, fromPlant] = [await devices.figures, await plant.figures];
  const late = seen.slice(10);
  return [
    row(`resident after ${seconds} s of 600 messages/s, MB`, seen.at(-1), {
      digits: 1,
      note: `idle ${(idle / 1e6).toFixed(1)}; every twentieth of the time ${seen.map((one) => one.toFixed(0)).join(' ')}`,
    }),
    row('most in the second half against its start', Math.max(...late) / late[0]),
    row('share of one core, %', share, { digits: 1 }),
    row('p99 of a publish, ms', fromDevices.latency.p99, { note: `most ${fromDevices.latency.max}` }),
    row(
      'errors, lost, sent again, missing',
      fromDevices.errors + fromDevices.lost + fromDevices.again + fromPlant.missing,
      { digits: 0, target: '<= 0' },
    ),
  ];
}
