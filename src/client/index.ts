/**
 * A client of a gateway, for a technician at the site: `holdfast pub` and `holdfast sub`. Over MQTT or CoAP, one surface.
 *
 * Promises
 * - `publish` is fulfilled when the gateway has acknowledged the message: PUBACK or PUBCOMP with a good reason code, or 2.04.
 *   QoS 0 over MQTT has no acknowledgement: once it is written. A refusal says what was refused and why, as far as the
 *   protocol can say it.
 * - A message is acknowledged to the gateway once the caller has taken it (`received`).
 * - A certificate is always verified. That of a gateway's own listener is compared with the one in its configuration, since it
 *   names the host that devices know and not the loopback address.
 * - Texts of a server are stripped of control characters before they are part of a reason; passwords never are.
 *
 * Not promised: nothing is kept over the loss of a connection, and nothing is tried again here. `lost` tells, once.
 *
 * MQTT. One mqtt.js client per connection, its reconnecting off, clean session. To our own gateway MQTT 3.1.1; to another
 * MQTT 5 first, since only that gives reasons, then 3.1.1. What is published is acknowledged by a gateway of 3.1.1 also where its
 * access rules drop it (MQTT 3.1.1 §3.3.5): that cannot be told from here.
 *
 * CoAP. `connection`: POST `mqtt/connection`, then the token, PUT twice in a heartbeat or more often, DELETE at the end. In
 * `connectionless` mode a publish carries client id, user name and password itself, as a device's does. A subscription has
 * a connection in either mode: its heartbeat is what finds out that the gateway has forgotten us. Where the mode is not known,
 * a connection is tried first, and done without where the server has no such resource. A notification does not say its topic:
 * a message has the filter in its place.
 */
export { connectGateway } from './connect.ts';
export type { GatewayClient, GatewayEvents, GatewayTarget, Publication, Received, Refused } from './gateway-client.ts';
