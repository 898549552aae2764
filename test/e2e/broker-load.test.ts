import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, describe, expect, it } from 'vitest';
import { freePort } from '../support/ports.ts';
import type { Load, Order, Outage, Report, Said } from './load/main.ts';
import { Daemon } from './support/daemon.ts';
import { scratch } from './support/peers.ts';

const number = (name: string, byDefault: number) => Number(process.env[name] ?? byDefault);
const load = {
  clients: number('CLIENTS', 60),
  rate: number('RATE', 300),
  seconds: number('SECONDS_OF_LOAD', 12),
  killEvery: number('KILL_EVERY', 4),
};

const place = scratch();
let daemon: Daemon | undefined;
let generator: Generator | undefined;

afterAll(async () => {
  await generator?.end();
  await daemon?.kill();
  place.remove();
});

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** The clients, in a process of their own: what they cost is not the test's, and not the broker's. */
class Generator {
  readonly #child: ChildProcess;
  readonly #said: Said[] = [];
  #heard: (() => void) | undefined;

  private constructor(program: string, given: Load) {
    this.#child = fork(program, [JSON.stringify(given)], { stdio: 'inherit', execArgv: [] });
    this.#child.on('message', (said: Said) => {
      this.#said.push(said);
      this.#heard?.();
    });
    this.#child.on('exit', () => this.#heard?.());
  }

  static async start(given: Load): Promise<Generator> {
    const outfile = join(place.path, 'load.mjs');
    const entry = join(import.meta.dirname, 'load/main.ts');
    await build({ entryPoints: [entry], outfile, bundle: true, platform: 'node', format: 'esm', target: 'node20' });
    return new Generator(outfile, given);
  }

  tell(order: Order): void {
    this.#child.send(order);
  }

  async hear<At extends Said['at']>(at: At): Promise<Extract<Said, { at: At }>> {
    for (;;) {
      const found = this.#said.find((said) => said.at === at);
      if (found !== undefined) return found as Extract<Said, { at: At }>;
      if (this.#child.exitCode !== null) throw new Error(`the load ended before it was ${at}`);
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
      });
    }
  }

  async report(outages: readonly Outage[]): Promise<Report> {
    this.tell({ do: 'report', outages });
    return (await this.hear('report')).report;
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }
}

describe('many clients, and a gateway that is killed again and again', () => {
  it(`${load.clients} clients, ${load.rate} messages/s: nothing acknowledged is missing at a session, QoS 2 comes once`, {
    timeout: load.seconds * 2_000 + 240_000,
  }, async () => {
    const port = await freePort();
    daemon = new Daemon(place.path, `[mqtt]\nlisten = ["mqtt://127.0.0.1:${port}"]\n`);
    await daemon.start();
    generator = await Generator.start({ port, clients: load.clients, rate: load.rate });
    await generator.hear('ready');

    const begun = performance.now();
    const outages: Outage[] = [];
    let worst = 0;
    let lastKill = begun;
    while (performance.now() - begun < load.seconds * 1_000) {
      await sleep(500);
      worst = Math.max(worst, daemon.memory);
      if (performance.now() - lastKill < load.killEvery * 1_000) continue;
      lastKill = performance.now();
      const from = Date.now();
      await daemon.kill('SIGKILL');
      await daemon.start();
      // those who were connected have heard of it by now
      outages.push([from, Date.now()]);
    }
    const seconds = (performance.now() - begun) / 1_000;
    generator.tell({ do: 'stop' });
    await generator.hear('quiet');
    const report = await generator.report(outages);
    const { missing, unexplained, ...counts } = report;
    const perSecond = (count: number) => Math.round(count / seconds);
    console.log(
      JSON.stringify({
        ...load,
        kills: outages.length,
        ...counts,
        perSecond: { offered: perSecond(counts.offered), sent: perSecond(counts.sent) },
        missing: missing.length,
        unexplained: unexplained.length,
        memory: worst,
      }),
    );
    expect(outages.length).toBeGreaterThan(0);
    // how fast it goes is for the bench; here that it goes on
    expect(counts.acknowledged).toBeGreaterThan(load.seconds * 20);
    expect(counts.dropped, daemon.output).toBe(0);
    expect(counts.unanswered).toBe(0);
    expect(missing).toEqual([]);
    expect(unexplained).toEqual([]);
    expect(counts.reordered).toBe(0);
  });
});
