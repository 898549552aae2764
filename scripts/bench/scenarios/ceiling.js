import { freePort } from '../bench.js';
import { row } from '../measure.js';

/**
 * The generator against a responder in C that does nothing but answer: requests a second, CPU of the generator for each,
 * and what one core of it would do. A server that gets near to that is not measured, the generator is.
 */
export async function ceiling(bench) {
  const rows = [];
  const port = await freePort();
  await bench.start(bench.tools['coap-reflect'], [`port=${port}`], /ready/);
  for (const clients of [1, 64, 1000]) {
    const rounds = [];
    for (let round = 0; round < bench.pick(3, 1); round++)
      rounds.push(await bench.load({ port, clients, seconds: bench.pick(4, 1) }));
    const all = (of) => rounds.map(of);
    rows.push(
      row(
        `${clients} clients: requests/s against a C responder`,
        all((one) => one.rate),
        { digits: 0 },
      ),
      row(
        `${clients} clients: requests/s that one core of the generator can do`,
        all((one) => one.done / one.cpu),
        {
          digits: 0,
        },
      ),
    );
  }
  const rate = 20_000;
  const open = await bench.load({ port, clients: 64, seconds: bench.pick(4, 1), rate });
  rows.push(
    row(`open loop, ${rate}/s: p50 and p99 of how late requests left, ms`, open.lag.p50, {
      note: `p99 ${open.lag.p99.toFixed(2)}`,
    }),
    row('open loop: p99 of the latency against the C responder, ms', open.latency.p99),
  );
  return rows;
}
