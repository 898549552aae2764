import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { freePort } from '../support/ports.ts';
import { Daemon, eventually } from './support/daemon.ts';
import { coapClient, publish, scratch } from './support/peers.ts';
import { run } from './support/process.ts';

const place = scratch();
const trace = join(place.path, 'trace');
let daemon: Daemon | undefined;

afterAll(async () => {
  await daemon?.kill();
  place.remove();
});

/** System calls of all threads, in the order of their ends; a call's line is marked by its payload or descriptor. */
function calls(): string[] {
  const lines = readdirSync(place.path)
    .filter((name) => name.startsWith('trace'))
    .flatMap((name) => readFileSync(join(place.path, name), 'utf8').split('\n'));
  // `-ttt -T`: begin and duration; an end is what counts for fsync, a begin for a send
  return lines
    .map((line) => /^(\d+\.\d+) (\w+)\((.*)\)\s+= .*?<(\d+\.\d+)>$/.exec(line))
    .filter((match) => match !== null)
    .map((match) => ({ begun: Number(match[1]), name: match[2] ?? '', args: match[3] ?? '', took: Number(match[4]) }))
    .sort((a, b) => at(a) - at(b))
    .map((call) => `${call.name} ${call.args}`);
}

function at(call: { begun: number; name: string; took: number }): number {
  return call.name === 'fdatasync' || call.name === 'fsync' ? call.begun + call.took : call.begun;
}

describe('an acknowledgement', () => {
  it('never leaves before the fsync that covers it', { timeout: 120_000 }, async () => {
    const [coap, mqtt] = [await freePort(), await freePort()];
    daemon = new Daemon(
      place.path,
      `[coap]\nlisten = ["coap://127.0.0.1:${coap}"]\n[mqtt]\nlisten = ["mqtt://127.0.0.1:${mqtt}"]\n[store]\ncommit_gap = "20ms"\n`,
    );
    await daemon.startUnder('strace', [
      '-D',
      '-ff',
      '-ttt',
      '-T',
      '-s',
      '4096',
      '-e',
      'trace=write,writev,fsync,fdatasync,sendmsg,sendmmsg,sendto,msync',
      '-o',
      trace,
    ]);
    for (let n = 0; n < 5; n++) {
      await run(coapClient, ['-m', 'post', '-e', `proof-coap-${n}`, '-B', '10', `coap://127.0.0.1:${coap}/ps/p`]);
      await publish(mqtt, 'p', `proof-mqtt-${n}`, ['-q', '1']);
    }
    await daemon.kill('SIGTERM');
    await eventually(() => daemon?.output.includes('has stopped') ?? false, 'it stopped');
    const all = calls();
    for (let n = 0; n < 5; n++) {
      for (const [door, isAnswer] of [
        ['coap', (call: string) => call.startsWith('send') && /"[`a-h]D/.test(call)],
        ['mqtt', (call: string) => /^writev? \d+, .*"@(\\2\\0|")/.test(call)],
      ] as const) {
        const written = all.findIndex((call) => /^writev? /.test(call) && call.includes(`proof-${door}-${n}`));
        expect(written, `${door} ${n} is written to the log`).toBeGreaterThan(-1);
        const synced = all.findIndex((call, index) => index > written && /^f(data)?sync /.test(call));
        const answered = all.findIndex((call, index) => index > written && isAnswer(call));
        expect(synced, `${door} ${n} is synced`).toBeGreaterThan(written);
        expect(answered, `${door} ${n} is answered`).toBeGreaterThan(synced);
        // and none left before the write either
        const before = all.slice(0, written).filter(isAnswer).length;
        expect(before, `${door} ${n} is the next to be answered`).toBe(n);
      }
    }
  });
});
