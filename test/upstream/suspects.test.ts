import { describe, expect, it } from 'vitest';
import type { UpstreamOptions } from '../../src/upstream/index.ts';
import { generator } from '../support/damage.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { type FakeLink, fakeConnector, session } from './support/fake-link.ts';
import { FakeLogger, harness, replay, rule } from './support/harness.ts';

/** A broker that has no other word for a message that it does not want than to close. */

type Packet = FakeLink['sent'][number]['packet'];

const status = 'holdfast/gw-7/status';
const text = (packet: Packet) => Buffer.from(packet.payload).toString();

async function site(
  /** Whether the broker closes over a packet; `late`: once it has acknowledged what came with it; `silent`: it does nothing. */
  closes: (packet: Packet) => boolean | 'late' | 'silent',
  given: Partial<UpstreamOptions> = {},
  maximumQos: 1 | 2 = 2,
) {
  const clock = new FakeClock();
  const logger = new FakeLogger();
  const { links, connect } = fakeConnector();
  const h = harness(
    { window: 8, backoff: { base: 1_000, cap: 8_000 }, ...given },
    { clock, logger, connect, random: () => 0.5 },
  );
  await h.upstream.start();
  const got: string[] = [];
  const joined = new Set<FakeLink>();
  const turn = async () => {
    for (let n = 0; n < 4; n++) {
      clock.advance(0);
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  };
  /** The broker, for some seconds. */
  const pass = async (seconds: number) => {
    for (let second = 0; second < seconds; second++) {
      await turn();
      for (const link of links) {
        if (!joined.has(link)) {
          joined.add(link);
          link.events?.up(session({ maximumQos }, { protocol: '3.1.1' }));
          await turn();
        }
        let late = false;
        for (let at = 0; link.ended === undefined && at < link.sent.length; at++) {
          const sent = link.sent[at];
          if (sent === undefined || answered.has(sent)) continue;
          answered.add(sent);
          const answer = closes(sent.packet);
          late ||= answer === 'late';
          if (answer === true) link.close();
          else if (answer === false) {
            if (sent.packet.topic !== status) got.push(`${text(sent.packet)}/${sent.packet.qos}`);
            sent.done(0);
          }
          await turn();
        }
        if (late) link.close();
      }
      clock.advance(1_000);
    }
  };
  const answered = new Set<FakeLink['sent'][number]>();
  const refused = () =>
    h.metrics.value('holdfast_upstream_refused_total', { upstream: 'cloud', reason: 'closed_by_broker' }) ?? 0;
  return { ...h, clock, logger, links, got, pass, refused };
}

describe('a message over which the broker closes', () => {
  it('is found, given up and told of; nothing else is, and the rest goes on', async () => {
    const { log, got, pass, refused, upstream, logger } = await site((packet) => text(packet) === 'p5');
    log.appendMany(20);
    await pass(200);
    expect(refused()).toBe(1);
    expect([...new Set(got)]).toEqual(
      Array.from({ length: 20 }, (_, at) => `p${at + 1}/1`).filter((one) => one !== 'p5/1'),
    );
    expect(upstream.status().queuedMessages).toBe(0);
    expect(logger.lines.map(({ text: line }) => line)).toContain(
      'the broker closes the connection on a message and on no other: it is given up',
    );
    log.appendMany(5);
    await pass(3);
    expect(upstream.status().queuedMessages).toBe(0);
  });

  it.each(['fifo', 'live_first'] as const)(
    'is found before others that are acknowledged each time (%s)',
    async (order) => {
      const bad = (packet: Packet) => (text(packet) === 'p2' ? 'late' : false);
      const { log, got, pass, refused, upstream } = await site(bad, { replay: replay({ order }) });
      log.appendMany(6);
      for (let n = 0; n < 40; n++) {
        await pass(5);
        log.append();
      }
      await pass(100);
      expect(refused()).toBe(1);
      expect(new Set(got).size).toBe(45);
      expect(upstream.status().queuedMessages).toBe(0);
    },
  );

  it('is of a topic that is given up for an hour after three of them', async () => {
    const bad = (packet: Packet) => packet.topic === 'bad';
    const { log, got, pass, refused, links, clock } = await site(bad);
    for (let n = 0; n < 30; n++) log.append({ topic: n % 3 === 0 ? 'bad' : 'good', payload: Buffer.from(`${n}`) });
    await pass(400);
    expect(refused()).toBe(10);
    expect(new Set(got).size).toBe(20);
    const before = links.length;
    for (let n = 0; n < 5; n++) log.append({ topic: 'bad' });
    await pass(20);
    expect(links.length).toBe(before);
    expect(refused()).toBe(15);
    clock.advance(3_600_000);
    log.append({ topic: 'bad' });
    await pass(60);
    expect(links.length).toBeGreaterThan(before + 3);
  });

  it('is sent at QoS 1 where that is what the broker bears, and so is all that follows', async () => {
    const { log, got, pass, refused, logger } = await site((packet) => packet.qos === 2, { rules: [rule({ qos: 2 })] });
    log.appendMany(3, () => ({ qos: 2 }));
    await pass(200);
    expect(refused()).toBe(0);
    log.appendMany(3, () => ({ qos: 2 }));
    await pass(3);
    expect(got).toEqual(['p1/1', 'p2/1', 'p3/1', 'p4/1', 'p5/1', 'p6/1']);
    expect(logger.lines.map(({ text: line }) => line)).toContain(
      'the broker closes the connection on QoS 2; messages go to it with QoS 1 from now on',
    );
  });

  it('is sent at QoS 1 where the broker closes over what an earlier connection left of QoS 2', async () => {
    const clock = new FakeClock();
    const { links, connect } = fakeConnector();
    const h = harness({ rules: [rule({ qos: 2 })] }, { clock, connect, random: () => 0.5 });
    await h.upstream.start();
    h.log.append({ qos: 2 });
    const next = async (count: number) => {
      for (let n = 0; n < 20 && links.length < count; n++) {
        await new Promise<void>((resolve) => setImmediate(resolve));
        clock.advance(100);
      }
      return links[count - 1];
    };
    const over = { reason: 'connection closed by the broker', dialect: undefined, code: undefined };
    for (const count of [1, 2, 3]) {
      const link = await next(count);
      expect(link?.target?.releaseQos2).toBe(true);
      link?.events?.down({ ...over, closed: true, releasing: true });
    }
    const link = await next(4);
    expect(link?.target?.releaseQos2).toBe(false);
    link?.events?.up(session({}, { protocol: '3.1.1', sessionPresent: true }));
    clock.advance(0);
    expect(link?.sent.filter(({ packet }) => packet.topic !== status).map(({ packet }) => packet.qos)).toEqual([1]);
  });

  it('is given up at any QoS, and others keep QoS 2', async () => {
    const { log, got, pass, refused } = await site((packet) => text(packet) === 'p1', { rules: [rule({ qos: 2 })] });
    log.appendMany(3, () => ({ qos: 2 }));
    await pass(300);
    expect(refused()).toBe(1);
    expect(got).toEqual(['p2/2', 'p3/2']);
  });
});

describe('nothing is given up', () => {
  it('where the broker closes over everything', async () => {
    const { log, pass, refused, upstream } = await site(() => true);
    log.appendMany(5);
    await pass(600);
    expect(refused()).toBe(0);
    expect(upstream.status().queuedMessages).toBe(5);
  });

  it('but one topic’s messages, where the broker takes the status alone', async () => {
    let closes = true;
    const { log, got, pass, refused, upstream } = await site((packet) => closes && packet.topic !== status);
    for (let n = 0; n < 10; n++) log.append({ topic: `t${n}`, payload: Buffer.from(`${n}`) });
    await pass(1_000);
    expect(refused()).toBe(1);
    expect(upstream.status().queuedMessages).toBe(9);
    closes = false;
    await pass(30);
    expect(upstream.status().queuedMessages).toBe(0);
    expect(got.length).toBe(9);
  });

  it('where the broker falls over now and then, whatever it is sent', async () => {
    const random = generator(7);
    const { log, pass, refused, upstream, links } = await site(() => random() < 0.3);
    for (let n = 0; n < 40; n++) {
      log.appendMany(3);
      await pass(20);
    }
    expect(links.length).toBeGreaterThan(20);
    await pass(600);
    expect(refused()).toBe(0);
    expect(upstream.status().queuedMessages).toBe(0);
  });

  it('where the broker closes without that message as well', async () => {
    let online = 0;
    const { log, pass, refused, upstream } = await site((packet) => {
      if (packet.topic === status) online += 1;
      return packet.topic === status ? online > 3 && online % 3 === 0 : true;
    });
    log.appendMany(2);
    await pass(600);
    expect(refused()).toBe(0);
    expect(upstream.status().queuedMessages).toBe(2);
  });

  it('where the broker has not said that it takes messages at all', async () => {
    const { log, pass, refused, upstream } = await site((packet) => (packet.topic === status ? 'silent' : true));
    log.appendMany(2);
    await pass(600);
    expect(refused()).toBe(0);
    expect(upstream.status().queuedMessages).toBe(2);
  });

  it('where it was not the broker who closed', async () => {
    const { log, pass, refused, links, upstream } = await site((packet) =>
      packet.topic === status ? false : 'silent',
    );
    log.appendMany(2);
    const closed = 3;
    for (let n = 0; n < 40; n++) {
      await pass(1);
      const link = links.at(-1);
      if (link?.ended !== undefined || link?.sent.every(({ packet }) => packet.topic === status)) continue;
      if (links.length <= closed) link?.close();
      else link?.abort('no answer to a ping');
      await pass(14);
    }
    expect(links.length).toBeGreaterThan(15);
    expect(refused()).toBe(0);
    expect(upstream.status().queuedMessages).toBe(2);
  });
});
