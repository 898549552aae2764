import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Daemon } from './support/daemon.ts';
import { scratch } from './support/peers.ts';
import { Running } from './support/process.ts';

/** Ten thousand connected clients with heartbeats, 256 of them publishing. CLIENT_SECONDS=300 is the full run. */
const clients = 10_000;
const seconds = Number(process.env.CLIENT_SECONDS ?? 60);

const place = scratch();
const daemon = new Daemon(
  place.path,
  '[coap]\nlisten = ["coap://127.0.0.1:0"]\nmode = "connection"\nheartbeat = "30s"\n[store]\nhistory = { max_bytes = "32MiB" }\n',
);

afterAll(async () => {
  await daemon.kill('SIGTERM');
  place.remove();
});

interface Result {
  readonly done: number;
  readonly errors: number;
  readonly refused: Readonly<Record<string, number>>;
  readonly rate: number;
  readonly p99: number;
}

function load(options: object): Running {
  const script = join(import.meta.dirname, 'support/coap-load.js');
  return new Running(process.execPath, [script, JSON.stringify(options)]);
}

describe('ten thousand clients', () => {
  it('stay connected while 256 of them publish, in memory that does not grow', {
    timeout: (seconds + 120) * 1_000,
  }, async () => {
    await daemon.start();
    const port = await daemon.port('coap');
    const running = load({
      port,
      clients,
      active: 256,
      heartbeat: 20_000,
      think: 50,
      seconds,
      mode: 'connect+publish',
    });
    const memory: number[] = [];
    const connected: number[] = [];
    for (;;) {
      await new Promise<void>((resolve) => setTimeout(resolve, 1_000));
      if (running.exited) break;
      const status = await daemon.status();
      if (status.clients.coap < clients && connected.length === 0) continue;
      connected.push(status.clients.coap);
      memory.push(daemon.memory);
    }
    const result = JSON.parse(running.output) as Result;
    const megabytes = memory.map((bytes) => Math.round(bytes / 1e6));
    console.log(
      JSON.stringify({ ...result, memory: megabytes.filter((_, at) => at % Math.ceil(megabytes.length / 12) === 0) }),
    );
    expect(result.refused).toEqual({});
    expect(result.errors).toBe(0);
    expect(Math.min(...connected)).toBe(clients);
    expect(result.done).toBeGreaterThan(seconds * 500);
    // duplicates are remembered for four minutes, bounded: the first half may still fill that, the second must not grow
    const half = memory.slice(Math.floor(memory.length / 2));
    expect(Math.max(...half) - (half[0] ?? 0)).toBeLessThan(20_000_000);
  });
});
