import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, load, median, spread, startDaemon, status, stop } from './support.js';

/** Time from spawn to ready, with an empty log and with many messages in it. */
export async function startup({ directory, quick }) {
  const rounds = quick ? 3 : 7;
  const own = join(directory, 'startup');
  mkdirSync(own);
  const port = await freePort();
  const toml = `[coap]\nlisten = ["coap://127.0.0.1:${port}"]\n[mqtt]\nlisten = ["mqtt://127.0.0.1:0"]\n[rest]\nlisten = ""\n`;
  const starts = async () => {
    const times = [];
    for (let round = 0; round < rounds; round++) {
      const daemon = await startDaemon(own, toml);
      times.push(daemon.readyAfter);
      await stop(daemon);
    }
    return times;
  };
  const empty = await starts();
  const filling = await startDaemon(own, toml);
  const total = quick ? 100_000 : 1_000_000;
  await load({ port, clients: 256, seconds: 0, total });
  const { store } = await status(filling.stateDir);
  await stop(filling);
  const full = await starts();
  return [
    { figure: 'ms to ready, empty', value: spread(empty, 0), target: '< 1000' },
    { figure: `ms to ready, ${store.messages} messages in the log`, value: spread(full, 0) },
    { figure: 'full against empty', value: (median(full) / median(empty)).toFixed(2), target: '<= 1.5' },
  ];
}
