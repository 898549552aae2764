import { Backoff, type Clock, type HoldfastError, type Timer } from '../base/index.ts';
import type { Message, QoS } from '../domain/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { DownlinkSink } from './deps.ts';
import type { EchoFilter } from './echo-filter.ts';
import type { Incoming } from './link.ts';
import type { TopicMap } from './topic-map.ts';
import type { UpstreamCounters } from './upstream-counters.ts';

export interface DownlinkDeps {
  readonly name: string;
  readonly topics: TopicMap;
  readonly sink: DownlinkSink;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly counters: UpstreamCounters;
  readonly random: () => number;
  /** Messages and bytes of payload that wait for the log, at most. */
  readonly maxMessages: number;
  readonly maxBytes: number;
}

interface Held {
  readonly message: Message;
  readonly acknowledge: () => void;
  state: 'waiting' | 'submitted' | 'done';
}

/** The link that downlinks come through now. */
interface Source {
  readonly echo: EchoFilter | undefined;
  readonly abort: (reason: string) => void;
}

/**
 * Brings messages of the broker into the log and acknowledges each once it is there, in the order they came (MQTT 5
 * §4.6). While the log cannot take them they wait here; beyond the bound QoS 0 is dropped, and a message of higher QoS
 * is left unacknowledged for the broker to send again after a reconnect.
 */
export class Downlink {
  readonly #deps: DownlinkDeps;
  readonly #backoff: Backoff;
  #source: Source | undefined;
  #held: Held[] = [];
  #bytes = 0;
  /** A message was left to the broker: so are all after it, to keep their order. */
  #missed = false;
  #retry: Timer | undefined;

  constructor(deps: DownlinkDeps) {
    this.#deps = deps;
    this.#backoff = new Backoff({ base: 500, cap: 10_000 }, deps.random);
  }

  /** Messages that wait for the log. */
  get waiting(): number {
    return this.#held.length;
  }

  opened(source: Source): void {
    this.closed();
    this.#source = source;
  }

  /** The link is gone: what the log has not been given yet, the broker will send again. */
  closed(): void {
    this.#source = undefined;
    this.#missed = false;
    this.#retry?.cancel();
    this.#retry = undefined;
    this.#held = [];
    this.#bytes = 0;
  }

  received(incoming: Incoming, acknowledge: () => void): void {
    const { counters, topics, name, clock } = this.#deps;
    const mapped = topics.in(incoming.topic);
    const echo = this.#source?.echo?.isEcho(incoming.topic, incoming.payload, clock.monotonic()) ?? false;
    if (mapped === undefined || echo) {
      if (!echo) counters.downlinksDropped('no_rule').add();
      if (this.#held.length === 0) acknowledge();
      else this.#held.push({ message: nothing, acknowledge, state: 'done' });
      return;
    }
    // QoS 0 may take half of the room, so that it never makes us turn away the rest.
    const share = incoming.qos === 0 ? 0.5 : 1;
    const full = this.#held.length >= this.#deps.maxMessages * share || this.#bytes >= this.#deps.maxBytes * share;
    if (incoming.qos === 0 && full) {
      counters.downlinksDropped('overload').add();
      return;
    }
    if (incoming.qos > 0 && (full || this.#missed)) {
      this.#missed = true;
      return;
    }
    const message: Message = {
      topic: mapped.topic,
      payload: incoming.payload,
      qos: Math.min(incoming.qos, mapped.qos) as QoS,
      retain: incoming.retain,
      expiry: incoming.expiry,
      origin: 'upstream',
      upstream: name,
      clientId: '',
      username: '',
      connection: 0n,
    };
    const held: Held = { message, acknowledge, state: 'waiting' };
    this.#held.push(held);
    this.#bytes += message.payload.length;
    if (this.#retry === undefined) this.#submit(held);
  }

  #submit(held: Held): void {
    held.state = 'submitted';
    this.#deps.sink.publish(held.message, (error) => this.#answered(held, error));
  }

  #answered(held: Held, error: HoldfastError | undefined): void {
    const { counters, logger, name } = this.#deps;
    if (error === undefined) counters.downlinks.add();
    if (!this.#held.includes(held)) return;
    if (error?.transient === true) {
      held.state = 'waiting';
      this.#holdOff(error);
      return;
    }
    if (error !== undefined) {
      counters.downlinksDropped(error.code).add();
      logger.warn({ upstream: name, topic: held.message.topic, reason: error.message }, 'downlink refused for good');
    }
    held.state = 'done';
    this.#backoff.reset();
    this.#release();
  }

  #release(): void {
    for (let first = this.#held[0]; first?.state === 'done'; first = this.#held[0]) {
      this.#held.shift();
      this.#bytes -= first.message.payload.length;
      first.acknowledge();
    }
    if (this.#held.length === 0 && this.#missed) {
      this.#source?.abort('downlinks were left to the broker while the log could not take them: fetching them');
    }
  }

  #holdOff(error: HoldfastError): void {
    if (this.#retry !== undefined) return;
    const wait = Math.max(100, this.#backoff.next());
    this.#deps.logger.warn({ upstream: this.#deps.name, reason: error.message, wait }, 'downlinks wait for the log');
    this.#retry = this.#deps.clock.after('downlink retry', wait, () => {
      this.#retry = undefined;
      for (const held of [...this.#held]) {
        if (this.#retry !== undefined) break;
        if (held.state === 'waiting') this.#submit(held);
      }
    });
  }
}

const nothing: Message = {
  topic: '',
  payload: new Uint8Array(0),
  qos: 0,
  retain: false,
  expiry: 0,
  origin: 'upstream',
  upstream: '',
  clientId: '',
  username: '',
  connection: 0n,
};
