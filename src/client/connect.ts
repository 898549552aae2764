import { type Clock, HoldfastError, hostAndPort } from '../base/index.ts';
import { CoapClient, UdpDatagrams } from '../coap/index.ts';
import { CoapGateway } from './coap-gateway.ts';
import type { GatewayClient, GatewayEvents, GatewayTarget } from './gateway-client.ts';
import { MqttGateway } from './mqtt-gateway.ts';

const defaultPorts: Readonly<Record<string, number>> = {
  coap: 5_683,
  mqtt: 1_883,
  mqtts: 8_883,
  ws: 8_083,
  wss: 8_084,
};

/**
 * Connects to a gateway and logs in. A CoAP server is asked where there is something to log in with, or to.
 * @throws HoldfastError `unavailable`, `not_authorized` and others; the text says why.
 */
export async function connectGateway(
  target: GatewayTarget,
  events: GatewayEvents,
  clock: Clock,
): Promise<GatewayClient> {
  const [scheme = ''] = target.url.split(':', 1);
  const port = defaultPorts[scheme];
  if (port === undefined) throw new HoldfastError('bad_request', `${scheme}:// is not spoken here`);
  const place = placeOf(target.url, port);
  if (scheme !== 'coap') return MqttGateway.connect(target, place, events, clock);
  const gateway: CoapGateway = new CoapGateway(target, events, {
    clock,
    client: new CoapClient({
      datagrams: new UdpDatagrams(place.host, place.port),
      clock,
      failed: (reason) => gateway.failed(reason),
    }),
  });
  await gateway.open();
  return gateway;
}

/** Where a URL points. */
export interface Place {
  readonly scheme: string;
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
  /** With the query. */
  readonly path: string;
}

function placeOf(text: string, defaultPort: number): Place {
  const url = new URL(text.replace(/^[a-z]+:/, 'http:'));
  return {
    scheme: text.slice(0, text.indexOf(':')),
    ...hostAndPort(text, defaultPort),
    path: `${url.pathname}${url.search}`,
  };
}
