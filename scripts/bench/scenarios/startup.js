import { freePort, status } from '../bench.js';
import { median, row } from '../measure.js';

/** From spawn to ready, the bundle with the flags of the packages: with an empty log, and with a million messages in it. */
export async function startup(bench) {
  const rounds = bench.pick(9, 3);
  const port = await freePort();
  const toml =
    `[coap]\nlisten = ["coap://127.0.0.1:${port}"]\n[mqtt]\nlisten = ["mqtt://127.0.0.1:0"]\n[rest]\nlisten = "http://127.0.0.1:0"\n` +
    '[store.history]\nmax_bytes = "1GiB"\nmax_messages = 10000000\n';
  const places = { empty: bench.place('startup'), full: bench.place('startup') };
  const filling = await bench.daemon(toml, { place: places.full });
  const total = bench.pick(1_000_000, 100_000);
  const filled = await bench.load({ port, clients: 256, total });
  if (filled.errors > 0) throw new Error(`${filled.errors} errors: ${JSON.stringify(filled.refused)}`);
  const { store } = await status(filling.stateDir);
  await bench.stop(filling);
  const seen = await bench.alternate(rounds, Object.keys(places), async (name) => {
    const daemon = await bench.daemon(toml, { place: places[name] });
    await bench.stop(daemon);
    return daemon.readyAfter;
  });
  return [
    row('ms to ready, empty', seen.empty, { digits: 0, target: '< 300' }),
    row(`ms to ready, ${store.messages} messages in the log`, seen.full, { digits: 0 }),
    row('ms more with them', median(seen.full) - median(seen.empty), { digits: 0, target: '<= 100' }),
  ];
}
