import { freePort, status } from '../bench.js';
import { median, resident, row } from '../measure.js';
import { coapOnly } from '../peers.js';
import { upstream } from './modes.js';

/**
 * CPU of the daemon for a message (for a notification, with observers), and its memory, as one thing grows by factors of
 * ten and the rest stays: how many requests are under way, too. A point that costs more than 1.5 times the one before it is
 * marked.
 */
export async function scaling(bench) {
  return [...(await clients(bench)), ...(await topics(bench)), ...(await backlog(bench)), ...(await observers(bench))];
}

const tens = (from, to) => Array.from({ length: Math.round(Math.log10(to / from)) + 1 }, (_, n) => from * 10 ** n);
const rounds = (bench) => bench.pick(3, 1);

async function clients(bench) {
  const points = [];
  for (const count of tens(10, bench.pick(100_000, 10_000))) {
    const port = await freePort();
    const daemon = await bench.daemon(coapOnly(port, 'mode = "connection"\nheartbeat = "300s"\n'));
    const options = { port, clients: count, window: 10, connect: 1, seconds: bench.pick(3, 1) };
    points.push(await point(bench, daemon, count, options));
    await bench.stop(daemon, 'SIGKILL');
  }
  return curve('connected clients', points);
}

async function topics(bench) {
  const points = [];
  for (const count of tens(1, bench.pick(100_000, 10_000))) {
    const port = await freePort();
    const daemon = await bench.daemon(coapOnly(port));
    // the topic goes with the client: many of them on 64 endpoints
    const options = {
      port,
      clients: Math.max(64, count),
      endpoints: 64,
      window: 64,
      topics: count,
      seconds: bench.pick(4, 1),
    };
    points.push(await point(bench, daemon, count, options));
    await bench.stop(daemon, 'SIGKILL');
  }
  return curve('topics', points);
}

async function backlog(bench) {
  const points = [];
  const [port, nobody] = [await freePort(), await freePort()];
  const queue = '[upstream.queue]\nmax_bytes = "4GiB"\nmax_messages = 100000000\n';
  const daemon = await bench.daemon(coapOnly(port, '', upstream(nobody, queue)));
  for (const count of tens(1_000, bench.pick(1_000_000, 100_000))) {
    const [{ queuedMessages }] = (await status(daemon.stateDir)).upstreams;
    if (queuedMessages < count) await bench.load({ port, clients: 64, total: count - queuedMessages });
    points.push(await point(bench, daemon, count, { port, clients: 64, total: Math.max(1_000, count / 20) }));
  }
  await bench.stop(daemon, 'SIGKILL');
  return curve('queued messages', points);
}

async function observers(bench) {
  const points = [];
  for (const count of tens(1, bench.pick(10_000, 1_000))) {
    const port = await freePort();
    const daemon = await bench.daemon(coapOnly(port));
    const options = { port, clients: 32, topics: 1, observers: count, 'observer-qos': 0, 'fan-window': 1 };
    points.push(
      await point(bench, daemon, count, { ...options, seconds: bench.pick(4, 1) }, (one) => one.notifications),
    );
    await bench.stop(daemon, 'SIGKILL');
  }
  return curve('observers', points);
}

/** Once to warm up, then the rounds. */
async function point(bench, daemon, count, options, per) {
  await bench.measured(
    daemon,
    'coap-load',
    { ...options, ...(options.total === undefined ? { seconds: 1 } : {}) },
    per,
  );
  const costs = [];
  for (let round = 0; round < rounds(bench); round++)
    costs.push((await bench.measured(daemon, 'coap-load', options, per)).cpuUs);
  return { count, costs, memory: resident(daemon.pid) / 1e6 };
}

function curve(name, points) {
  return points.map(({ count, costs, memory }, at) => {
    const before = points[at - 1];
    const factor = before === undefined ? undefined : median(costs) / median(before.costs);
    const note = `${memory.toFixed(1).padStart(7)} MB${factor === undefined ? '' : `   × ${factor.toFixed(2)} of the one before`}`;
    return {
      ...row(`${count.toLocaleString('en')} ${name}: CPU, µs`, costs, { digits: 1, note }),
      memory,
      ...(factor === undefined ? {} : { target: '<= 1.5 × the one before', met: factor <= 1.5 }),
    };
  });
}
