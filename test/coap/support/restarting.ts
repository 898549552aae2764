import { afterEach } from 'vitest';
import { settle } from '../../log/support.ts';
import { type SiteOptions, startSite } from './site.ts';
import { type Ask, empty, MemoryTransport, request, type Sent } from './wire.ts';

/** Runs of a gateway one after the other, on what the one before has left. */

const running: { stop(): Promise<void> }[] = [];

afterEach(async () => {
  for (const site of running.splice(0).reverse()) await site.stop();
});

export const here = { address: '192.0.2.1', port: 1000 };
export const there = { address: '198.51.100.9', port: 2000 };

/** A site on a transport in memory, and devices that speak to it. */
export async function run(given: SiteOptions = {}) {
  const transport = new MemoryTransport();
  const site = await startSite(() => [transport], given);
  running.push(site);
  const { clock } = site;
  // those of one run are no duplicates of another's
  let mid = Math.floor(clock.monotonic() / 10) % 60_000;
  const arrive = async (datagram: Buffer, from = here) => {
    transport.listener?.received(datagram, from.address, from.port);
    await settle(clock);
  };
  const ask = async (given: Ask, from = here): Promise<string> => {
    const id = mid++;
    const before = transport.sent.length;
    await arrive(request({ ...given, mid: id }), from);
    const answer = transport.sent.slice(before).find((one) => one.mid === id);
    return answer === undefined ? 'nothing' : `${answer.code} ${answer.payload}`.trim();
  };
  const connect = async (clientid: string, from = here, ...query: string[]): Promise<string[]> => {
    const answer = await ask({ code: 2, path: 'mqtt/connection', query: [`clientid=${clientid}`, ...query] }, from);
    return [`clientid=${clientid}`, `token=${answer.slice(5)}`];
  };
  const subscribe = (who: string[], topic: string, token: string, from = here, qos = 1) =>
    ask({ code: 1, path: `ps/${topic}`, observe: 0, token, query: [...who, `qos=${qos}`] }, from);
  const beat = (who: string[], from = here) => ask({ code: 3, path: 'mqtt/connection', query: who }, from);
  const notifications = () => transport.sent.filter((one) => one.options[6] !== undefined && one.type !== 'ACK');
  /** Acknowledges each notification as it comes; their payloads, with where they went. */
  const acknowledged = async (answer: (one: Sent) => 'ACK' | 'RST' | undefined = () => 'ACK'): Promise<string[]> => {
    const got: string[] = [];
    const seen = new Set<number>();
    for (let rounds = 0; rounds < 2_000; rounds++) {
      const fresh = notifications().filter((one) => one.type === 'CON' && !seen.has(one.mid));
      if (fresh.length === 0) break;
      for (const one of fresh) {
        seen.add(one.mid);
        got.push(`${one.to} ${one.token} ${one.payload}`);
        const [address = '', port = ''] = one.to.split(':');
        const type = answer(one);
        if (type !== undefined) await arrive(empty(type, one.mid), { address, port: Number(port) });
      }
    }
    return got;
  };
  return { ...site, given, transport, arrive, ask, connect, subscribe, beat, notifications, acknowledged };
}

export type Run = Awaited<ReturnType<typeof run>>;

/** The next run: on what a killed process wrote, on what was synced before a power cut, or after an orderly stop. */
export async function again(
  old: Run,
  how: 'stopped' | 'killed' | 'power cut',
  change: Pick<SiteOptions, 'passwords' | 'rules' | 'mode'> = {},
): Promise<Run> {
  running.splice(0);
  const { clock, disks, given } = old;
  const left = how === 'killed' ? 0 : Number.POSITIVE_INFINITY;
  if (how === 'stopped') await old.stop();
  const next =
    how === 'stopped'
      ? disks
      : { ...disks, log: disks.log.afterPowerCut(left), sessions: disks.sessions.afterPowerCut(left) };
  clock.advance(5_000);
  return run({ ...given, ...change, clock, disks: next });
}

/** The sequence number of a notification. */
export function numberOf(one: Sent | undefined): number {
  return one?.options[6]?.readUIntBE(0, one.options[6].length) ?? Number.NaN;
}
