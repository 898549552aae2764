import { median, ratios, row, spread } from '../measure.js';
import { asked, contenders, described } from '../peers.js';

const clients = 64;

/** Durable CoAP publish, CON, 32 bytes: closed loop, then open loop at half of the rate that this gave. */
export async function publish(bench) {
  const servers = await contenders(bench, ['echo', 'coap', 'libcoap']);
  const names = Object.keys(servers);
  const measured = (name, options) =>
    bench.measured(servers[name], 'coap-load', { port: servers[name].port, clients, ...asked[name], ...options });

  const closed = await bench.alternate(bench.pick(7, 3), names, (name, warming) =>
    measured(name, { seconds: warming ? 1 : bench.pick(5, 1.5) }),
  );
  const all = (name, key) => closed[name].map((result) => result[key]);
  const against = (name) => ratios(all('holdfast', 'rate'), all(name, 'rate'));
  const rows = [row('fsynced publishes/s, 64 clients', all('holdfast', 'rate'), { digits: 0 })];
  for (const name of names.slice(0, -1))
    rows.push(row(`${name}, requests/s`, all(name, 'rate'), { digits: 0, note: described[name] }));
  rows.push(row('against the coap package', against('coap'), { target: '>= 2.2' }));
  if (closed.libcoap !== undefined) rows.push(row('against libcoap', against('libcoap'), { target: '>= 0.55' }));
  rows.push(row('against the echo', against('echo')));
  for (const name of names) rows.push(row(`${name}: CPU per request, µs`, all(name, 'cpuUs'), { digits: 1 }));
  rows.push(
    row('CPU per publish against the echo', ratios(all('holdfast', 'cpuUs'), all('echo', 'cpuUs')), {
      target: '<= 2.5',
    }),
    row('kB to the disk per publish', all('holdfast', 'kilobytes'), { digits: 3 }),
    row('retransmissions of the devices', sum(closed.holdfast, 'again'), { digits: 0 }),
    row(
      'p50 of the closed loop, ms',
      closed.holdfast.map((result) => result.latency.p50),
    ),
  );
  for (const name of names) rows.push(row(`${name}: share of a core that the generator took`, all(name, 'cpuShare')));

  const rate = Math.round(median(all('holdfast', 'rate')) / 2);
  const steady = names.filter((name) => name !== 'coap' && median(all(name, 'rate')) > rate * 1.2);
  const open = await bench.alternate(bench.pick(5, 2), steady, (name, warming) =>
    measured(name, { rate, seconds: warming ? 1 : bench.pick(5, 1.5) }),
  );
  for (const name of steady) {
    const at = (key) => open[name].map((result) => result.latency[key]);
    rows.push(
      row(`${name} at ${rate}/s, open loop: p99, ms`, at('p99'), {
        ...(name === 'holdfast' ? { target: '< 3' } : {}),
        note: `p50 ${spread(at('p50'))}, p99.9 ${spread(at('p999'))}; requests left late by ${spread(
          open[name].map((result) => result.lag.p99),
        )} (p99)`,
      }),
    );
  }
  rows.push(
    row('sent again, lost or not sent in the open loop', sum(open.holdfast, 'again', 'lost', 'skipped'), { digits: 0 }),
  );
  return rows;
}

function sum(results, ...keys) {
  return results.reduce((total, result) => total + keys.reduce((part, key) => part + result[key], 0), 0);
}
