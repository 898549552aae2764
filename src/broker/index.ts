/**
 * The MQTT side: aedes as the hub, behind TCP, TLS and WebSocket listeners, or none.
 *
 * A client's PUBLISH goes to the pipeline inside aedes's `authorizePublish`: PUBACK and PUBREC leave only after the message
 * is on disk. The pipeline routes it, with those of all other doors, in the order of ids; aedes's own routing of it is left
 * out. A message that cannot be stored gets no PUBACK: the connection ends and the client sends it again. A message that
 * the access rules refuse is acknowledged and dropped (MQTT 3.1.1 §3.3.5).
 *
 * What aedes gets wrong and is mended here: mixed QoS overtaking itself (`router.ts`), no limit on packets
 * (`listener.ts`), one frozen subscriber stalling all, `$share` granted in vain, QoS above the subscription's through a
 * wildcard, an empty client id with a persistent session (`admission.ts`).
 *
 * Sessions (subscriptions, offline queues) live in memory; retained messages come from the pipeline, which has them on disk.
 */
export type { MessageSink } from './admission.ts';
export { Broker, type BrokerDeps, type BrokerOptions, type MessageSource } from './broker.ts';
export type { MqttListenerOptions, MqttScheme } from './listener.ts';
