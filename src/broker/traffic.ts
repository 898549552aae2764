import type { Counter, Metrics } from '../telemetry/index.ts';

/** Packets of all MQTT clients, counted. */
export class Traffic {
  readonly received: Counter;
  readonly sent: Counter;
  readonly publishesReceived: Counter;
  readonly publishesSent: Counter;
  /** PUBLISH that were not sent: the subscriber does not read, or has too many unacknowledged. */
  readonly publishesDropped: Counter;
  readonly connections: Counter;

  constructor(metrics: Metrics) {
    const counter = (name: string, help: string) => metrics.counter(`holdfast_mqtt_${name}_total`, help);
    this.received = counter('packets_received', 'MQTT packets from clients.');
    this.sent = counter('packets_sent', 'MQTT packets to clients.');
    this.publishesReceived = counter('publishes_received', 'PUBLISH packets from clients.');
    this.publishesSent = counter('publishes_sent', 'PUBLISH packets to clients.');
    this.publishesDropped = counter('publishes_dropped', 'PUBLISH packets that a subscriber did not take in time.');
    this.connections = counter('connections', 'MQTT connections taken.');
  }

  /** A packet came in, by its first byte; what it is answered by is counted with it. */
  receivedPacket(first: number): void {
    const type = first >> 4;
    this.received.add();
    if (type === 3) this.publishesReceived.add();
    const answered = type === 3 ? (first & 6) !== 0 : answeredTypes.includes(type);
    if (answered) this.sent.add();
  }

  sentPublish(): void {
    this.publishesSent.add();
    this.sent.add();
  }
}

/** CONNECT, PUBREC, PUBREL, SUBSCRIBE, UNSUBSCRIBE, PINGREQ. */
const answeredTypes: readonly number[] = [1, 5, 6, 8, 10, 12];
