import { freePort } from '../bench.js';
import { pause, resident, row } from '../measure.js';
import { coapOnly } from '../peers.js';

const mb = (bytes) => bytes / 1e6;

/** Resident memory: idle, with ten thousand connected clients, with observers, after many publishes. */
export async function memory(bench) {
  const port = await freePort();
  const [mqtt, rest] = [await freePort(), await freePort()];
  const toml =
    `[coap]\nlisten = ["coap://127.0.0.1:${port}"]\nmode = "connection"\nheartbeat = "300s"\n` +
    `[mqtt]\nlisten = ["mqtt://127.0.0.1:${mqtt}"]\n[rest]\nlisten = "http://127.0.0.1:${rest}"\n`;
  const daemon = await bench.daemon(toml);
  await pause(3_000);
  const idle = resident(daemon.pid);
  const rows = [row('idle, CoAP, MQTT and REST listening, MB', mb(idle), { digits: 1, target: '<= 68' })];

  // they log in and stay: a load without requests
  await bench.load({ port, clients: 10_000, active: 0, connect: 1, seconds: 3 });
  const connected = resident(daemon.pid);
  rows.push(
    row('10,000 connected clients, MB more', mb(connected - idle), { digits: 1, target: '<= 12' }),
    row('a thousand connected clients, MB', mb(connected - idle) / 10, { digits: 2 }),
  );
  const total = bench.pick(500_000, 50_000);
  const result = await bench.load({ port, clients: 10_000, window: 256, connect: 1, total });
  if (result.errors > 0) throw new Error(`${result.errors} errors: ${JSON.stringify(result.refused)}`);
  rows.push(
    row(`after ${total} publishes of 10,000 connected clients, MB`, mb(resident(daemon.pid)), {
      digits: 1,
      target: '<= 120',
      note: `${result.rate.toFixed(0)}/s`,
    }),
  );
  await bench.stop(daemon, 'SIGKILL');

  // what running costs once, whoever it is for, apart
  const third = await freePort();
  const run = await bench.daemon(
    `[coap]\nlisten = ["coap://127.0.0.1:${third}"]\nmode = "connection"\nheartbeat = "300s"\n`,
  );
  await bench.load({ port: third, clients: 1, connect: 1, total: 10_000 });
  await pause(1_000);
  const warm = resident(run.pid);
  await bench.load({ port: third, clients: 10_000, active: 0, connect: 1, seconds: 3 });
  rows.push(
    row('10,000 connected clients of a gateway that has run, MB more', mb(resident(run.pid) - warm), {
      digits: 1,
      note: `${mb(warm).toFixed(1)} before`,
    }),
  );
  await bench.stop(run, 'SIGKILL');

  const other = await freePort();
  const fresh = await bench.daemon(coapOnly(other));
  await pause(3_000);
  const before = resident(fresh.pid);
  const observers = 10_000;
  const watching = bench.generate('coap-load', {
    port: other,
    clients: 1,
    active: 0,
    observers,
    'observer-qos': 0,
    seconds: 60,
  });
  await watching.ready;
  await pause(1_000);
  rows.push(row('a thousand observers, MB', (mb(resident(fresh.pid) - before) * 1_000) / observers));
  watching.end();
  await watching.figures;
  return rows;
}
