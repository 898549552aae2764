import { ratios, row, spread } from '../measure.js';
import { contenders, floor, libcoap } from '../peers.js';

/**
 * One publish to N observers: the next leaves, from one of 32 clients, when all have the last. NON notifications against a bare loop of
 * `socket.send` (node:dgram) and libcoap's example_data (`-N`: every fifth is a CON there), CON ones against libcoap's.
 */
export async function fanout(bench) {
  const rows = [];
  for (const qos of [0, 1]) {
    const servers = await contenders(bench, []);
    const options = { holdfast: { topics: 1, 'observer-qos': qos } };
    if (qos === 0) {
      servers.loop = await floor(bench, 'fan');
      options.loop = { any: 1, topics: 0 };
    }
    const peer = await libcoap(bench, qos === 0 ? ['-N'] : []);
    if (peer !== undefined) {
      servers.libcoap = peer;
      options.libcoap = { method: 'put', path: 'example_data', topics: 0 };
    }
    const names = Object.keys(servers).reverse();
    const kind = qos === 0 ? 'NON' : 'CON';
    for (const observers of [1, 100, 1000]) {
      const seen = await bench.alternate(bench.pick(3, 1), names, (name, warming) =>
        bench.measured(
          servers[name],
          'coap-load',
          {
            port: servers[name].port,
            clients: 32,
            observers,
            'fan-window': 1,
            seconds: warming ? 0.5 : bench.pick(4, 1.5),
            ...options[name],
          },
          (result) => result.notifications,
        ),
      );
      const all = (name, of) => seen[name].map(of);
      const rate = (one) => one.notifications / one.seconds;
      for (const name of names) {
        const missing = all(name, (one) => one.missing).reduce((a, b) => a + b, 0);
        rows.push(
          row(`${name}: ${kind} to ${observers}, notifications/s`, all(name, rate), {
            digits: 0,
            note: `${spread(
              all(name, (one) => one.cpuUs),
              1,
            )} µs of CPU; p99 ${spread(
              all(name, (one) => one.delivery.p99),
            )} ms${missing > 0 ? `; ${missing} MISSING` : ''}`,
          }),
        );
      }
      for (const name of names.filter((one) => one !== 'holdfast'))
        rows.push(
          row(`${kind} to ${observers} against ${name}`, ratios(all('holdfast', rate), all(name, rate)), {
            ...(name === 'loop' && observers === 1000 ? { target: '>= 0.5' } : {}),
          }),
        );
    }
    await bench.stopAll();
  }
  return rows;
}
