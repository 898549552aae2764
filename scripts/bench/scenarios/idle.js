import { freePort } from '../bench.js';
import { activity, pause, resident, row } from '../measure.js';
import { floor, libcoap, mosquitto } from '../peers.js';

/** Nobody talks to them: CPU (from the scheduler's account, in nanoseconds), context switches of all threads, memory. */
export async function idle(bench) {
  const [coap, mqtt, rest] = [await freePort(), await freePort(), await freePort()];
  const servers = {
    holdfast: await bench.daemon(
      `[coap]\nlisten = ["coap://127.0.0.1:${coap}"]\n[mqtt]\nlisten = ["mqtt://127.0.0.1:${mqtt}"]\n[rest]\nlisten = "http://127.0.0.1:${rest}"\n`,
    ),
    'node:dgram echo': await floor(bench, 'echo'),
    mosquitto: bench.peers.mosquitto === undefined ? undefined : await mosquitto(bench, { persistence: true }),
    libcoap: await libcoap(bench),
  };
  const there = Object.entries(servers).filter(([, server]) => server !== undefined);
  // what is done once after the start is not idling: V8 gives memory back, 8 to 25 s after it
  await pause(30_000);
  const seconds = bench.pick(60, 10);
  const before = new Map(there.map(([name, { pid }]) => [name, activity(pid)]));
  await pause(seconds * 1_000);
  return there.flatMap(([name, { pid }]) => {
    const [from, to] = [before.get(name), activity(pid)];
    const ours = name === 'holdfast';
    const cpu = to.ns === undefined || from.ns === undefined ? [] : [(100 * (to.ns - from.ns)) / (seconds * 1e9)];
    return [
      ...cpu.map((share) =>
        row(`${name}: share of one core, %`, share, { digits: 3, ...(ours ? { target: '< 0.3' } : {}) }),
      ),
      row(`${name}: wake-ups/s`, (to.switches - from.switches) / seconds, {
        digits: 1,
        ...(ours ? { target: '<= 10' } : {}),
      }),
      row(`${name}: resident, MB`, resident(pid) / 1e6, { digits: 1 }),
    ];
  });
}
