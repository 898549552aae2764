import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, load, megabytes, resident, startDaemon, stop } from './support.js';

/** Resident memory after start, and after many publishes from ten thousand connected clients. */
export async function memory({ directory, quick }) {
  const own = join(directory, 'memory');
  mkdirSync(own);
  const port = await freePort();
  const mqtt = await freePort();
  const daemon = await startDaemon(
    own,
    `[coap]\nlisten = ["coap://127.0.0.1:${port}"]\nmode = "connection"\nheartbeat = "300s"\n[mqtt]\nlisten = ["mqtt://127.0.0.1:${mqtt}"]\n[rest]\nlisten = ""\n`,
  );
  try {
    const atStart = resident(daemon.child.pid);
    const total = quick ? 50_000 : 500_000;
    const result = await load({ port, clients: 10_000, seconds: 0, mode: 'connect+publish', total });
    const after = resident(daemon.child.pid);
    if (result.errors > 0) throw new Error(`${result.errors} errors`);
    return [
      { figure: 'resident after start', value: megabytes(atStart), target: '<= 85 MB' },
      {
        figure: `resident after ${total} publishes from 10,000 connected clients`,
        value: megabytes(after),
        target: '<= 120 MB',
      },
      { figure: 'their rate, per second', value: result.rate.toFixed(0) },
    ];
  } finally {
    await stop(daemon, 'SIGKILL');
  }
}
