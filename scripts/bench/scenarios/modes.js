import { freePort } from '../bench.js';
import { ratios, row, spread } from '../measure.js';
import { asked, coapOnly, floor, mosquitto } from '../peers.js';

/**
 * Durable CoAP publish for 1, 64 and 1,000 clients, in both modes, with a link that is up (a mosquitto on the same machine,
 * whose CPU is part of the picture), down, or not configured; against the echo with as many clients.
 */
export async function modes(bench) {
  const rows = [];
  const echo = await floor(bench, 'echo');
  for (const link of ['none', 'down', 'up']) {
    if (link === 'up' && bench.peers.mosquitto === undefined) continue;
    for (const mode of ['connectionless', 'connection']) {
      const cloud = link === 'up' ? await mosquitto(bench) : { port: await freePort() };
      const port = await freePort();
      const daemon = await bench.daemon(
        coapOnly(port, `mode = "${mode}"\n`, link === 'none' ? '' : upstream(cloud.port)),
      );
      const servers = { echo: { ...echo, port: echo.port }, holdfast: Object.assign(daemon, { port }) };
      for (const clients of [1, 64, 1000]) {
        const seen = await bench.alternate(bench.pick(3, 1), ['echo', 'holdfast'], (name, warming) =>
          bench.measured(servers[name], 'coap-load', {
            port: servers[name].port,
            clients,
            seconds: warming ? 0.5 : bench.pick(4, 1),
            ...asked[name],
            ...(name === 'holdfast' && mode === 'connection' ? { connect: 1 } : {}),
          }),
        );
        const all = (name, key) => seen[name].map((result) => result[key]);
        const p99 = seen.holdfast.map((result) => result.latency.p99);
        rows.push(
          row(`link ${link}, ${mode}, ${clients} clients: publishes/s`, all('holdfast', 'rate'), {
            digits: 0,
            note: `echo × ${spread(ratios(all('holdfast', 'rate'), all('echo', 'rate')))}; p99 ${spread(p99)} ms; ${spread(all('holdfast', 'cpuUs'), 1)} µs of CPU`,
          }),
        );
      }
      await bench.stop(daemon, 'SIGKILL');
      if (link === 'up') await bench.stop(cloud, 'SIGKILL');
    }
  }
  return rows;
}

/** An upstream at a local port, tried again quickly. */
export function upstream(port, more = '') {
  return (
    `[[upstream]]\nname = "cloud"\nurls = ["mqtt://127.0.0.1:${port}"]\nclient_id = "bench"\n` +
    `backoff = { base = "50ms", cap = "200ms" }\ntopics = [{ topic = "#", direction = "out", qos = 1 }]\n${more}`
  );
}
