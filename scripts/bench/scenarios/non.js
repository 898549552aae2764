import { ratios, row } from '../measure.js';
import { asked, contenders } from '../peers.js';

/** Publish that is not confirmable: the answer is one too, and nothing is sent again. Closed loop, 64 clients. */
export async function non(bench) {
  const servers = await contenders(bench, ['echo', 'coap', 'libcoap']);
  const names = Object.keys(servers);
  const seen = await bench.alternate(bench.pick(5, 2), names, (name, warming) =>
    bench.measured(servers[name], 'coap-load', {
      port: servers[name].port,
      clients: 64,
      type: 'non',
      seconds: warming ? 1 : bench.pick(4, 1.5),
      ...asked[name],
    }),
  );
  const all = (name, key) => seen[name].map((result) => result[key]);
  const rows = names.map((name) => row(`${name}: answered NON/s`, all(name, 'rate'), { digits: 0 }));
  for (const name of names.slice(0, -1))
    rows.push(row(`against ${name}`, ratios(all('holdfast', 'rate'), all(name, 'rate'))));
  rows.push(
    row('CPU against the echo', ratios(all('holdfast', 'cpuUs'), all('echo', 'cpuUs'))),
    row('holdfast: lost', all('holdfast', 'lost'), { digits: 0 }),
  );
  return rows;
}
