import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { benchRoot, cpuSeconds, freePort, load, median, spread, start, startDaemon, stop } from './support.js';

/** Durable CoAP publish, CON, 32 bytes, 64 clients with one request outstanding each, against an echo and the `coap` package. */
export async function publish({ directory, quick }) {
  const seconds = quick ? 2 : 5;
  const rounds = quick ? 3 : 5;
  const ports = { echo: await freePort(), coap: await freePort(), holdfast: await freePort() };
  const floor = join(benchRoot, 'floor-servers.js');
  const own = join(directory, 'publish');
  mkdirSync(own);
  const servers = {
    echo: await start(process.execPath, [floor, 'echo', ports.echo], /ready/),
    coap: await start(process.execPath, [floor, 'coap', ports.coap], /ready/),
    holdfast: await startDaemon(
      own,
      `[coap]\nlisten = ["coap://127.0.0.1:${ports.holdfast}"]\n[mqtt]\nlisten = []\n[rest]\nlisten = ""\n`,
    ),
  };
  const seen = { echo: [], coap: [], holdfast: [] };
  const cpu = { echo: [], coap: [], holdfast: [] };
  try {
    for (let round = -1; round < rounds; round++) {
      for (const name of Object.keys(servers)) {
        const before = cpuSeconds(servers[name].child.pid);
        const result = await load({
          port: ports[name],
          clients: 64,
          seconds: round < 0 ? 1 : seconds,
          mode: name === 'echo' ? 'echo' : 'publish',
        });
        if (result.errors > 0) throw new Error(`${name}: ${result.errors} errors`);
        if (round < 0) continue;
        seen[name].push(result);
        cpu[name].push(((cpuSeconds(servers[name].child.pid) - before) / result.done) * 1e6);
      }
    }
  } finally {
    for (const server of Object.values(servers)) await stop(server, 'SIGKILL');
  }
  const rates = (name) => seen[name].map((result) => result.rate);
  const against = (name) => seen.holdfast.map((result, round) => result.rate / seen[name][round].rate);
  return [
    { figure: 'fsynced publishes per second, 64 clients', value: spread(rates('holdfast'), 0) },
    { figure: 'against the coap package storing nothing', value: spread(against('coap')), target: '>= 1.6' },
    { figure: 'against a bare dgram echo', value: spread(against('echo')), target: '>= 0.33' },
    { figure: 'p50, ms', value: spread(seen.holdfast.map((result) => result.p50)) },
    { figure: 'p99, ms', value: spread(seen.holdfast.map((result) => result.p99)), target: '< 6' },
    {
      figure: 'p99 of the echo and of the coap package, ms',
      value: `${spread(seen.echo.map((result) => result.p99))}; ${spread(seen.coap.map((result) => result.p99))}`,
    },
    { figure: 'CPU per publish, µs', value: spread(cpu.holdfast, 1) },
    { figure: 'CPU per publish against the echo', value: (median(cpu.holdfast) / median(cpu.echo)).toFixed(2) },
    { figure: 'echo and coap package, per second', value: `${spread(rates('echo'), 0)}; ${spread(rates('coap'), 0)}` },
  ];
}
