import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import { afterEach } from 'vitest';
import { type LocalGateway, startLocalGateway } from '../support/local-gateway.ts';

const open: LocalGateway[] = [];
const clients: MqttClient[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) await client.endAsync(true).catch(() => undefined);
  for (const gateway of open.splice(0)) await gateway.stop();
});

/** A gateway that ends with the test. */
export async function gateway(given: Parameters<typeof startLocalGateway>[0] = {}): Promise<LocalGateway> {
  const made = await startLocalGateway(given);
  open.push(made);
  return made;
}

/** A client of it that ends with the test. */
export async function connect(to: LocalGateway, options: IClientOptions = {}): Promise<MqttClient> {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${to.port}`, {
    protocolVersion: 4,
    reconnectPeriod: 0,
    ...options,
  });
  clients.push(client);
  return client;
}
