import type { Broker } from '../broker/index.ts';
import type { CoapResources } from '../coap/index.ts';
import type { Connection, ConnectionRegistry } from '../connections/index.ts';
import type { Presence, Subscription } from '../rest/index.ts';

/** Who is there now, for the REST API: the registry, and the subscriptions of the edge that a client is connected to. */
export class GatewayPresence implements Presence {
  readonly #registry: ConnectionRegistry;
  readonly #broker: Broker;
  readonly #resources: CoapResources;

  constructor(registry: ConnectionRegistry, broker: Broker, resources: CoapResources) {
    this.#registry = registry;
    this.#broker = broker;
    this.#resources = resources;
  }

  /** The oldest connection first. */
  online(): Iterable<Connection> {
    return this.#registry.all();
  }

  find(clientId: string): Connection | undefined {
    return this.#registry.find(clientId);
  }

  subscriptions(clientId: string): readonly Subscription[] {
    const edge = this.#registry.find(clientId)?.protocol === 'coap' ? this.#resources : this.#broker;
    return edge.subscriptions(clientId);
  }
}
