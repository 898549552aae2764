import type { Client, Subscription } from 'aedes';

/** A SUBSCRIBE as aedes's parser hands it over. */
export interface SubscribePacket {
  subscriptions: Subscription[];
  messageId?: number | undefined;
}

interface Asked {
  readonly messageId: number;
  readonly all: readonly Subscription[];
}

const refused = 128;

/**
 * SUBSCRIBE with the same filter more than once. It is as good as several (MQTT-3.8.4-4): the last one counts, and each has
 * its return code (MQTT-3.9.3-1). aedes answers with a code for each different filter, so the SUBACK is written here.
 */
export class RepeatedFilters {
  readonly #asked = new WeakMap<Subscription, Asked>();

  /** Takes the answer over where a filter is repeated. */
  look(packet: SubscribePacket): void {
    const { subscriptions: all, messageId } = packet;
    const last = all.at(-1);
    if (last === undefined || messageId === undefined) return;
    if (new Set(all.map(({ topic }) => topic)).size === all.length) return;
    this.#asked.set(last, { messageId, all: all.map(({ topic, qos }) => ({ topic, qos })) });
    // aedes then says nothing
    packet.messageId = undefined;
  }

  /** aedes has subscribed, each to the QoS that it granted. */
  subscribed(granted: readonly Subscription[], client: Client): void {
    for (const subscription of granted) {
      const asked = this.#asked.get(subscription);
      if (asked === undefined) continue;
      const codes = new Map(granted.map(({ topic, qos }) => [topic, Number(qos)]));
      const suback = asked.all.map(({ topic, qos }) => (codes.get(topic) === refused ? refused : qos));
      const { messageId } = asked;
      client.conn.write(packetOf(0x90, Buffer.from([messageId >> 8, messageId & 255, ...suback])));
    }
  }
}

function packetOf(first: number, body: Buffer): Buffer {
  const length: number[] = [];
  for (let left = body.length; length.length === 0 || left > 0; left >>= 7)
    length.push((left & 127) | (left > 127 ? 128 : 0));
  return Buffer.concat([Buffer.from([first, ...length]), body]);
}
