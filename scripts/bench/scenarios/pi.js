import { freePort } from '../bench.js';
import { median, ratios, row, spread } from '../measure.js';
import { asked, coapOnly, floor, libcoap, mosquitto, mqttOnly } from '../peers.js';
import { throttle } from '../throttle.js';

const share = 0.25;
const syncMs = 20;

/** A board's view: every server gets a quarter of a core, the daemon's fsyncs take 20 ms longer. The generator is not held. */
export async function pi(bench) {
  const held = throttle(bench, share);
  const slow = { HOLD_PRELOAD: bench.tools['slow-sync'], SLOW_SYNC_US: String(syncMs * 1000), ...held.env };
  try {
    return [...(await coap(bench, held, slow)), ...(await mqtt(bench, held, slow))];
  } finally {
    await bench.stopAll();
    held.remove();
  }
}

async function coap(bench, held, slow) {
  const port = await freePort();
  const servers = {
    echo: await floor(bench, 'echo', held.env),
    coap: await floor(bench, 'coap', held.env),
    libcoap: await libcoap(bench, [], held.env),
    holdfast: Object.assign(await bench.daemon(coapOnly(port), { env: slow }), { port }),
  };
  if (servers.libcoap === undefined) delete servers.libcoap;
  for (const server of Object.values(servers)) await held.apply(server.pid);
  const names = Object.keys(servers);
  const measured = (name, options) =>
    bench.measured(servers[name], 'coap-load', { port: servers[name].port, clients: 64, ...asked[name], ...options });
  const seen = await bench.alternate(bench.pick(3, 1), names, (name, warming) =>
    measured(name, { seconds: warming ? 2 : bench.pick(6, 2) }),
  );
  const all = (name, key) => seen[name].map((result) => result[key]);
  const rows = [row(`ms to ready (${held.how})`, servers.holdfast.readyAfter, { digits: 0, note: held.start })];
  for (const name of names)
    rows.push(
      row(`${name}: requests/s, 64 clients`, all(name, 'rate'), {
        digits: 0,
        note: `${spread(all(name, 'cpuUs'), 1)} µs of CPU; p99 ${spread(seen[name].map((one) => one.latency.p99))} ms`,
      }),
    );
  for (const name of names.slice(0, -1))
    rows.push(row(`against ${name}`, ratios(all('holdfast', 'rate'), all(name, 'rate'))));
  for (const rate of [50, Math.round(median(all('holdfast', 'rate')) / 2)]) {
    const open = await measured('holdfast', { rate, seconds: bench.pick(10, 3) });
    rows.push(
      row(`holdfast at ${rate}/s, open loop: p99, ms`, open.latency.p99, {
        note: `p50 ${open.latency.p50}, most ${open.latency.max}`,
      }),
      timedOut(`holdfast at ${rate}/s: sent again, lost, not sent`, [open]),
    );
  }
  rows.push(timedOut('closed loop: sent again, lost', seen.holdfast));
  // a plant: a thousand connected devices that log in, publish now and then and show themselves
  const other = await freePort();
  const plant = await bench.daemon(coapOnly(other, 'mode = "connection"\n'), { env: slow });
  await held.apply(plant.pid);
  const figures = await bench.measured(plant, 'coap-load', {
    port: other,
    clients: 1000,
    connect: 1,
    rate: 200,
    beats: 1000 / 30,
    seconds: bench.pick(20, 3),
  });
  rows.push(
    row('1,000 connected devices, 200/s: p99, ms', figures.latency.p99, {
      note: `of a heartbeat ${figures.beat.p99}; ${((100 * figures.serverCpu) / figures.seconds / share).toFixed(0)} % of the quarter of a core`,
    }),
    timedOut('1,000 connected devices: sent again, lost, not sent', [figures]),
  );
  await bench.stopAll();
  return rows;
}

async function mqtt(bench, held, slow) {
  if (bench.peers.mosquitto === undefined) return [];
  const port = await freePort();
  const servers = {
    mosquitto: await mosquitto(bench, { persistence: true, env: slow }),
    holdfast: Object.assign(await bench.daemon(mqttOnly(port), { env: slow }), { port }),
  };
  for (const server of Object.values(servers)) await held.apply(server.pid);
  const names = Object.keys(servers);
  const seen = await bench.alternate(bench.pick(3, 1), names, (name, warming) =>
    bench.measured(
      servers[name],
      'mqtt-load',
      {
        port: servers[name].port,
        publishers: 50,
        window: 64,
        qos: 1,
        clean: 0,
        seconds: warming ? 2 : bench.pick(6, 2),
      },
      (result) => result.received,
    ),
  );
  const all = (name, key) => seen[name].map((result) => result[key]);
  return [
    ...names.map((name) =>
      row(`${name}: MQTT QoS 1, 50 publishers to one subscriber, messages/s`, all(name, 'rate'), {
        digits: 0,
        note: `p99 ${spread(seen[name].map((one) => one.delivery.p99))} ms`,
      }),
    ),
    row('MQTT against mosquitto', ratios(all('holdfast', 'rate'), all('mosquitto', 'rate'))),
    row('MQTT: missing', all('holdfast', 'missing'), { digits: 0, target: '<= 0' }),
  ];
}

function timedOut(figure, results) {
  return row(
    figure,
    results.reduce((sum, one) => sum + one.again + one.lost + one.skipped, 0),
    { digits: 0, target: '<= 0' },
  );
}
