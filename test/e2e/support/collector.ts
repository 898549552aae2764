import mqtt, { type MqttClient } from 'mqtt';

/** What a client says of itself where it is asked to. */
export interface Login {
  readonly username?: string;
  readonly password?: string;
}

/** A persistent MQTT session with QoS 1 that keeps what it receives, by publisher. Payloads are `name:serial`. */
export class Collector {
  /** Serials in the order of their arrival, repeats included. */
  readonly received = new Map<string, number[]>();
  readonly #port: number;
  readonly #clientId: string;
  readonly #login: Login;
  #client: MqttClient;

  constructor(port: number, clientId = 'collector', login: Login = {}) {
    this.#port = port;
    this.#clientId = clientId;
    this.#login = login;
    this.#client = this.#connect();
  }

  /** Resolved once the subscription stands. */
  async ready(filter = 'up/#'): Promise<void> {
    await this.#client.subscribeAsync(filter, { qos: 1 });
  }

  /** Connects again to the session that `stop` left. */
  resume(): void {
    this.#client = this.#connect();
  }

  /** Drops the connection; the broker keeps the session. */
  stop(): Promise<unknown> {
    return this.#client.endAsync(true);
  }

  #connect(): MqttClient {
    const client = mqtt.connect(`mqtt://127.0.0.1:${this.#port}`, {
      clientId: this.#clientId,
      ...this.#login,
      clean: false,
      reconnectPeriod: 20,
      connectTimeout: 5_000,
      protocolVersion: 4,
    });
    client.on('error', () => undefined);
    client.on('message', (_topic, payload) => {
      const [name, serial] = `${payload}`.split(':');
      const list = this.received.get(name ?? '') ?? [];
      this.received.set(name ?? '', list);
      list.push(Number(serial));
    });
    return client;
  }
}
