import { freePort } from '../bench.js';
import { resident, row } from '../measure.js';
import { coapOnly, floor } from '../peers.js';

const every = 30;

/**
 * Clients that do nothing but PUT mqtt/connection every 30 s, an endpoint (address and port) each as far as descriptors go
 * (ulimit -n), else several on one; open loop. The daemon expects them within 90 s, so that those who logged in first are
 * still there when a hundred thousand have. Against the echo at the same rate of datagrams.
 */
export async function heartbeats(bench) {
  const rows = [];
  for (const clients of bench.pick([10_000, 100_000], [10_000, 30_000])) {
    const port = await freePort();
    const echo = await floor(bench, 'echo');
    const daemon = Object.assign(await bench.daemon(coapOnly(port, 'mode = "connection"\nheartbeat = "60s"\n')), {
      port,
    });
    const before = resident(daemon.pid);
    const options = { clients, active: 0, beats: clients / every, seconds: bench.pick(every, 5) };
    const beats = (result) => result.beats;
    const bare = await bench.measured(echo, 'coap-load', { port: echo.port, any: 1, ...options }, beats);
    const ours = await bench.measured(daemon, 'coap-load', { port, connect: 1, ...options }, beats);
    const after = resident(daemon.pid);
    rows.push(
      row(`${clients} clients: share of one core, %`, (100 * ours.serverCpu) / ours.seconds, {
        ...(clients === 100_000 ? { target: '< 40' } : {}),
        note: `${(clients / every).toFixed(0)} heartbeats/s from ${ours.endpoints} ports`,
      }),
      row(`${clients} clients: CPU of a heartbeat against the echo`, ours.cpuUs / bare.cpuUs, {
        note: `${ours.cpuUs.toFixed(1)} µs`,
      }),
      row(`${clients} clients: p99 of a heartbeat, ms`, ours.beat.p99),
      row(`${clients} clients: logins/s before that`, clients / ours.connectSeconds, { digits: 0 }),
      row(`${clients} clients: MB more than idle`, (after - before) / 1e6, { digits: 1 }),
      row(`${clients} clients: sent again or lost`, ours.again + ours.lost, { digits: 0, target: '<= 0' }),
    );
    await bench.stopAll();
  }
  return rows;
}
