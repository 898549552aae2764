import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import * as mqttPacket from 'mqtt-packet';
import type { LocalGateway } from '../support/local-gateway.ts';

/** An MQTT client that does nothing by itself: what it sends is said, what it got is kept. */
export class Wire {
  readonly got: mqttPacket.Packet[] = [];
  readonly socket: Socket;
  #heard: (() => void) | undefined;
  #ended = false;

  constructor(port: number) {
    this.socket = createConnection(port, '127.0.0.1');
    const parser = mqttPacket.parser({ protocolVersion: 4 });
    parser.on('packet', (packet) => {
      this.got.push(packet);
      this.#heard?.();
    });
    this.socket.on('data', (data) => parser.parse(data));
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => {
      this.#ended = true;
      this.#heard?.();
    });
  }

  /** Connects; answers with session present. */
  static async open(to: LocalGateway, clientId: string, clean = false, will?: mqttPacket.IConnectPacket['will']) {
    const wire = new Wire(to.port);
    wire.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean,
      clientId,
      keepalive: 0,
      ...(will === undefined ? {} : { will }),
    });
    const connack = await wire.next('connack');
    return { wire, present: connack.sessionPresent };
  }

  send(packet: mqttPacket.Packet): void {
    this.socket.write(mqttPacket.generate(packet));
  }

  publish(topic: string, payload: string, qos: 0 | 1 | 2, messageId: number, dup = false): void {
    this.send({ cmd: 'publish', topic, payload, qos, messageId, dup, retain: false });
  }

  async subscribe(topic: string, qos: 0 | 1 | 2): Promise<number | undefined> {
    this.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos }] });
    const { granted } = await this.next('suback');
    return typeof granted[0] === 'number' ? granted[0] : undefined;
  }

  /** Takes the first packet of that kind, those before it stay. */
  async next<Kind extends mqttPacket.Packet['cmd']>(cmd: Kind): Promise<Extract<mqttPacket.Packet, { cmd: Kind }>> {
    for (;;) {
      const at = this.got.findIndex((packet) => packet.cmd === cmd);
      const [found] = at < 0 ? [] : this.got.splice(at, 1);
      if (found !== undefined) return found as Extract<mqttPacket.Packet, { cmd: Kind }>;
      if (this.#ended) throw new Error(`the connection ended before a ${cmd}`);
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
      });
    }
  }

  /** The next `count` messages as `payload/qos`, with `+` where it is a repetition. */
  async messages(count: number, answer = true): Promise<string[]> {
    const texts: string[] = [];
    while (texts.length < count) {
      const { payload, qos, dup, messageId } = await this.next('publish');
      texts.push(`${payload}/${qos}${dup ? '+' : ''}`);
      if (answer && qos === 1 && messageId !== undefined) this.send({ cmd: 'puback', messageId });
    }
    return texts;
  }

  /** Whatever was sent is handled once this resolves. */
  async settled(): Promise<void> {
    this.send({ cmd: 'pingreq' });
    await this.next('pingresp');
  }

  async close(): Promise<void> {
    if (this.#ended) return;
    this.send({ cmd: 'disconnect' });
    this.socket.end();
    await once(this.socket, 'close');
  }

  async vanish(): Promise<void> {
    if (this.#ended) return;
    this.socket.destroy();
    await once(this.socket, 'close');
  }
}
