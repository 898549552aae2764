import type { Aedes, AedesPublishPacket, Client } from 'aedes';
import { reasonOf } from '../base/index.ts';
import type { Message } from '../domain/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { logBrokerId } from './sessions/index.ts';

type Done = (error?: Error | null) => void;

interface Waiting {
  readonly packet: object;
  readonly stored: boolean;
  readonly done: Done;
}

/**
 * Hands messages to aedes in order.
 *
 * A message is numbered with its id and a subscriber takes only rising numbers, but QoS 0 is routed at once
 * and QoS 1 and 2 after its session store: published in one turn, the second overtakes the first, which is then lost as a
 * duplicate. So a message waits here until those of the other kind have gone through. A will takes the
 * same way; aedes's own `$SYS` messages are left out. What a client published was routed by the pipeline, so aedes's second routing of it is left out.
 */
export class BrokerRouter {
  readonly #publish: (packet: AedesPublishPacket, done: Done) => void;
  readonly #logger: Logger;
  readonly #broker: Aedes;
  #waiting: Waiting[] = [];
  #at = 0;
  #underWay = 0;
  #underWayStored = false;

  constructor(broker: Aedes, logger: Logger) {
    this.#logger = logger;
    this.#broker = broker;
    const original = broker.publish.bind(broker) as unknown as (
      packet: AedesPublishPacket,
      client: null,
      done: Done,
    ) => void;
    this.#publish = (packet, done) => original(packet, null, done);
    const ordered = (packet: object, client: Client | Done | null, done?: Done) => {
      if (isAedesOwn(packet, broker.id)) return (typeof client === 'function' ? client : done)?.(null);
      if (typeof client === 'function') this.#enqueue(packet, client);
      else if (client) done?.(null);
      else this.#enqueue(packet, done ?? (() => undefined));
    };
    Object.assign(broker, { publish: ordered });
  }

  /** Messages that wait for those before them. */
  get length(): number {
    return this.#waiting.length - this.#at + this.#underWay;
  }

  route(message: Message, id: bigint): void {
    // a gateway for CoAP alone does not pay for the hub; queues of sessions that are away are filled elsewhere
    if (this.#broker.connectedClients === 0 && this.length === 0) return;
    const { topic, payload, qos } = message;
    // aedes compares the numbers of one broker id and needs nothing else of them
    const number = { brokerId: logBrokerId, brokerCounter: id };
    this.#enqueue({ cmd: 'publish', topic, payload, qos, retain: false, dup: false, ...number }, (error) => {
      if (error) this.#logger.warn({ topic, reason: reasonOf(error) }, 'a message did not reach its MQTT subscribers');
    });
  }

  #enqueue(packet: object, done: Done): void {
    const stored = 'qos' in packet && typeof packet.qos === 'number' && packet.qos > 0;
    if (this.#at === this.#waiting.length && (this.#underWay === 0 || this.#underWayStored === stored)) {
      this.#send({ packet, stored, done });
    } else {
      this.#waiting.push({ packet, stored, done });
    }
  }

  #send({ packet, stored, done }: Waiting): void {
    this.#underWay += 1;
    this.#underWayStored = stored;
    this.#publish(packet as AedesPublishPacket, (error) => {
      this.#underWay -= 1;
      done(error);
      if (this.#underWay === 0 && this.#at < this.#waiting.length) this.#next();
    });
  }

  #next(): void {
    const kind = this.#waiting[this.#at]?.stored;
    while (this.#at < this.#waiting.length) {
      const waiting = this.#waiting[this.#at];
      if (waiting === undefined || (waiting.stored !== kind && this.#underWay > 0)) break;
      this.#at += 1;
      this.#send(waiting);
    }
    if (this.#at === this.#waiting.length) {
      this.#waiting = [];
      this.#at = 0;
    } else if (this.#at > 1024) {
      this.#waiting = this.#waiting.slice(this.#at);
      this.#at = 0;
    }
  }
}

/** What aedes tells of itself and its clients: `$SYS` is ours. */
function isAedesOwn(packet: object, id: string): boolean {
  return 'topic' in packet && typeof packet.topic === 'string' && packet.topic.startsWith(`$SYS/${id}/`);
}
