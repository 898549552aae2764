import { ratios, row } from '../measure.js';
import { asked, contenders } from '../peers.js';

/** 16 KiB in blocks of 1,024 bytes (RFC 7959), 16 clients; libcoap's example_data takes them too. The echo gets as many datagrams. */
export async function uploads(bench) {
  const servers = await contenders(bench, ['echo', 'libcoap']);
  const names = Object.keys(servers);
  const seen = await bench.alternate(bench.pick(5, 2), names, (name, warming) =>
    bench.measured(servers[name], 'coap-load', {
      port: servers[name].port,
      clients: 16,
      payload: 16_384,
      block: 1024,
      seconds: warming ? 1 : bench.pick(4, 1.5),
      ...asked[name],
    }),
  );
  const all = (name, key) => seen[name].map((result) => result[key]);
  return [
    ...names.map((name) => row(`${name}: uploads of 16 KiB/s`, all(name, 'rate'), { digits: 0 })),
    ...names.slice(0, -1).map((name) => row(`against ${name}`, ratios(all('holdfast', 'rate'), all(name, 'rate')))),
    row('CPU per upload, µs', all('holdfast', 'cpuUs'), { digits: 0 }),
    row(
      'p99 of an upload, ms',
      seen.holdfast.map((result) => result.latency.p99),
    ),
    row(
      'sent again or lost',
      seen.holdfast.map((one) => one.again + one.lost),
      { digits: 0 },
    ),
  ];
}
