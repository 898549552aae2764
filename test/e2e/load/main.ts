import type { QoS } from './connection.ts';
import { Publisher, textOfName } from './publisher.ts';
import { Subscriber } from './subscriber.ts';

/** What the process is told, as JSON in its argument. */
export interface Load {
  readonly port: number;
  readonly clients: number;
  /** Messages a second, whatever becomes of them. */
  readonly rate: number;
}

/** When the broker was down, wall time in milliseconds: from before its kill until it was ready again. */
export type Outage = readonly [from: number, to: number];

export type Order = { readonly do: 'stop' } | { readonly do: 'report'; readonly outages: readonly Outage[] };

export interface Report {
  readonly offered: number;
  readonly sent: number;
  readonly acknowledged: number;
  /** Not acknowledged in the end. */
  readonly unanswered: number;
  readonly delivered: number;
  /** Acknowledged and missing at a session. */
  readonly missing: readonly string[];
  /** QoS 2 messages that came twice: those whose handshake an outage cut, and those that nothing explains. */
  readonly repeats: number;
  readonly unexplained: readonly string[];
  readonly reordered: number;
  /** Connections that ended without an outage. */
  readonly dropped: number;
  /** Of this process, seconds. */
  readonly cpu: number;
}

export type Said = { readonly at: 'ready' | 'quiet' } | { readonly at: 'report'; readonly report: Report };

const publishers = 10;
/** Subscribers to one topic; those with a session are half of them. */
const perTopic = 6;
/** How long nothing may come before what is still awaited is given up, milliseconds. */
const patience = 30_000;

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Waits for it as long as there is progress. */
async function until(holds: () => boolean, progress: () => number): Promise<void> {
  let seen = progress();
  let end = Date.now() + patience;
  while (!holds() && Date.now() < end) {
    await sleep(100);
    if (progress() === seen) continue;
    seen = progress();
    end = Date.now() + patience;
  }
}

const load = JSON.parse(process.argv[2] ?? '') as Load;
const topics = Math.max(1, Math.floor(load.clients / perTopic));
const subscribers = Array.from(
  { length: topics * perTopic },
  (_, at) =>
    new Subscriber({
      id: `sub${at}`,
      topic: Math.floor(at / perTopic),
      qos: ((at % perTopic) % 3) as QoS,
      persistent: at % perTopic < perTopic / 2,
      port: load.port,
    }),
);
await Promise.all(subscribers.map(({ ready }) => ready));
const senders = Array.from({ length: publishers }, (_, at) => new Publisher(at, load.port, topics));
await until(
  () => senders.every(({ up }) => up),
  () => 0,
);

const begun = performance.now();
let offered = 0;
const pacing = setInterval(() => {
  const due = Math.floor(((performance.now() - begun) / 1_000) * load.rate);
  for (; offered < due; offered++) senders[offered % publishers]?.publish();
}, 10);
// a tenth of the sessions goes away each second
const leaving = setInterval(() => {
  for (const one of subscribers) if (one.persistent && Math.random() < 0.1) one.comeAndGo();
}, 1_000);

const say = (said: Said) => new Promise<void>((resolve) => process.send?.(said, () => resolve()));

function sum(numbers: readonly number[]): number {
  return numbers.reduce((all, one) => all + one, 0);
}

function missing(): string[] {
  const byTopic = new Map<number, { readonly id: string; readonly got: ReadonlyMap<number, number> }[]>();
  for (const one of subscribers) {
    if (one.strict) byTopic.set(one.topic, [...(byTopic.get(one.topic) ?? []), one]);
  }
  return senders.flatMap(({ acknowledged }) =>
    acknowledged.flatMap(({ name, topic, qos }) =>
      (byTopic.get(topic) ?? [])
        .filter(({ got }) => !got.has(name))
        .map(({ id }) => `${id} ${textOfName(name)}/${qos}`),
    ),
  );
}

function report(outages: readonly Outage[]): Report {
  const inOutage = (at: number) => outages.some(([from, to]) => at >= from && at <= to);
  const cut = new Map(senders.flatMap((sender) => [...sender.cut]));
  const repeats = subscribers.flatMap((one) => one.repeats.map((repeat) => ({ ...repeat, id: one.id })));
  const unexplained = repeats.filter(
    ({ name, cut: own }) => !own.some(inOutage) && !(cut.get(name) ?? []).some(inOutage),
  );
  return {
    offered,
    sent: sum(senders.map(({ sent }) => sent)),
    acknowledged: sum(senders.map(({ acknowledged }) => acknowledged.length)),
    unanswered: sum(senders.map(({ unanswered }) => unanswered)),
    delivered: sum(subscribers.map(({ delivered }) => delivered)),
    missing: missing(),
    repeats: repeats.length,
    unexplained: unexplained.map(({ id, name }) => `${id} ${textOfName(name)}`),
    reordered: sum(subscribers.map(({ reordered }) => reordered)),
    dropped: [...subscribers, ...senders].flatMap(({ lost }) => lost).filter((at) => !inOutage(at)).length,
    cpu: Math.round((process.cpuUsage().user + process.cpuUsage().system) / 1e6),
  };
}

async function obey(order: Order): Promise<void> {
  if (order.do === 'report') {
    await say({ at: 'report', report: report(order.outages) });
    for (const one of [...subscribers, ...senders]) one.leave();
    process.disconnect();
    return;
  }
  clearInterval(pacing);
  clearInterval(leaving);
  const progress = () =>
    sum(senders.map(({ acknowledged, unanswered }) => acknowledged.length - unanswered)) +
    sum(subscribers.map(({ got }) => got.size));
  await until(() => senders.every(({ unanswered }) => unanswered === 0), progress);
  await until(() => missing().length === 0, progress);
  await say({ at: 'quiet' });
}

process.on('message', (order: Order) => void obey(order));
await say({ at: 'ready' });
