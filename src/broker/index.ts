/**
 * The MQTT side: aedes as the hub, behind TCP, TLS and WebSocket listeners, or none.
 *
 * A client's PUBLISH goes to the pipeline inside aedes's `authorizePublish`: PUBACK and PUBREC leave only after the message
 * is on disk. The pipeline routes it, with those of all other doors, in the order of ids; aedes's own routing of it is left
 * out. A message that cannot be stored gets no PUBACK: the connection ends and the client sends it again. A message that
 * the access rules refuse is acknowledged and dropped (MQTT 3.1.1 §3.3.5).
 *
 * aedes has the life of a connection: CONNECT, keep-alive, takeover, SUBSCRIBE and UNSUBSCRIBE, the handshakes of QoS 2, the
 * backlog of a session that comes back, wills. What comes in numbers goes past it. PUBLISH of QoS 0 and 1, PUBACK and PUBCOMP
 * are taken from the bytes as they are read (`packet-stream.ts`). Who gets a message is looked up in `hub.ts`, which watches
 * aedes's table of each client's subscriptions; the packet is put together once for all of them (`publish-packet.ts`), goes
 * through each one's window (`outgoing.ts`), and what one client gets in a turn is one write (`outbox.ts`).
 *
 * What aedes gets wrong and is mended here: mixed QoS overtaking itself, one frozen subscriber stalling all, QoS above the
 * subscription's through a wildcard (`hub.ts`, `outgoing.ts`), no limit on packets (`strict-parser.ts`), `$share` granted in
 * vain, an empty client id with a persistent session (`admission.ts`), QoS 2 logged again where it comes again before the disk
 * has it (`incoming.ts`), one return code for a filter that a SUBSCRIBE has twice (`repeated-filters.ts`).
 *
 * What MQTT 3.1.1 has a server refuse is refused before aedes sees it (`packet-check.ts`, `strict-parser.ts`): the
 * connection ends, and a will is published. Level 3 (MQTT 3.1) and 4 (3.1.1) are served; MQTT 5 and any other level is
 * answered with CONNACK, return code 1, in the format of 3.1.1, as MQTT-3.1.2-2 has it and clients that fall back expect.
 * Where the standard leaves open whether to close or to answer, the connection ends; a filter that is well-formed and not
 * allowed, and `$share`, is answered with 0x80.
 *
 * `$SYS`. `$SYS/broker/…` has Mosquitto's names and meanings where it has them; besides, `queue/<upstream>/messages`
 * (waiting), `connection/<upstream>/state` (`1` or `0`) and `clients/coap/…`. Whoever subscribes is told the values of that
 * moment as retained messages, and then each value that has changed, every `sys_interval`. Who comes and goes is told as it
 * happens, whatever the protocol, as EMQX names it: `$SYS/brokers/<gateway id>/clients/<client id>/connected` and
 * `…/disconnected`, JSON with `clientid`, `username`, `protocol` (`mqtt`, `coap`), `ipaddress`, `sockport`, `keepalive`,
 * `clean_start`, `ts`, and `reason` of an end; `/`, `+`, `#` and `%` in a client id are percent-encoded. All of it is QoS 0,
 * never logged, forwarded or queued for a session, and not even put together while nobody subscribes. `$SYS/broker/` may
 * be subscribed to by everybody who is let in; the events are subject to the access rules.
 *
 * Retained messages come from the pipeline, which has them on disk; persistent sessions (subscriptions, queued QoS 1 and 2
 * messages, QoS 2 handshakes, wills) are in `../sessions/`.
 *
 * Bounds towards clients. More connections than `mqtt_connect_rate` a second, over all listeners, are closed before TLS or
 * HTTP sees them. Before login a packet is a CONNECT of 8 KiB at most, and room for a will. A packet above `mqtt_packet` is
 * refused by its length. A subscriber has `mqtt_inflight` messages of QoS 1 and 2 unacknowledged at most (`outgoing.ts`),
 * retained ones included; the rest waits in its session, or in a queue of `mqtt_queued` messages and 1 MiB where it has none,
 * and is dropped and counted beyond. One that does not read (128 KiB unsent) loses QoS 0 and is sent nothing else until it
 * does; after 5 s without any progress it is disconnected. The hub never waits for a subscriber.
 *
 * Certificates. With `use_identity_as_username` a client whose certificate was verified is the user that its common name
 * says, and needs no password; one without a common name is refused. A certificate that is asked for and not trusted, where
 * it is optional, counts for nothing.
 *
 * Delivery. A session is told of what it has queued by its own queue, in the turn in which it was; the hub tells those
 * without a session, and of QoS 0. A client that comes back gets its backlog first, in order, and then what comes in; each
 * message once to a connection. A message of QoS 2 goes out once its packet identifier is written.
 */
export type { MessageSink } from './admission.ts';
export { Broker, type BrokerDeps, type BrokerOptions, type MessageSource } from './broker.ts';
export type { MqttListenerOptions, MqttScheme } from './listener.ts';
export type { Figure } from './sys-topics.ts';
