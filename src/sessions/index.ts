/**
 * What clients are owed over a restart: persistent MQTT sessions (subscriptions, queued QoS 1 and 2 messages, QoS 2
 * handshakes, wills), and the CoAP clients that are connected and have subscribed with a QoS above 0. Memory is what counts,
 * and a LevelDB directory follows it.
 *
 * Durability. The log is the only thing that a publisher waits for. As the pipeline routes a message, in the
 * order of ids and in the same turn, it is queued in memory for the sessions that subscribe; the disk follows within
 * 200 ms, without a sync. Every batch is a consistent state of all of memory and says, by its watermark, which messages its
 * queues have seen. After a crash the disk has some such state, an older one after a power cut; everything acknowledged
 * since is in the log, and is read again from the watermark against the subscriptions of that very state. Nothing is lost,
 * and the path of a message has no fsync of its own. SUBSCRIBE, UNSUBSCRIBE, clean session 1 and the steps of a QoS 2
 * handshake wait for a synced batch, which brings all before it along. What was acknowledged by a subscriber in the last
 * moments may be sent to it again (QoS 1); a QoS 2 message with a finished handshake is not.
 *
 * Queued payloads are kept once, in the session store, and not as places in the log: an offline session may need them for
 * weeks, and would hold the log's whole history for one message. The log is held back only from the watermark on, which is
 * synced and moved every ten seconds. A message whose receivers acknowledge before the next batch never gets there.
 *
 * Retained messages, which a subscriber gets when it subscribes, are not queued: a subscription says until they are
 * acknowledged that they are due, and whoever comes back is sent those that it has not got, each as it is by then.
 *
 * Connected CoAP clients have no queue here. A client that is connected is sent what comes in at once, and acknowledges it in
 * moments: a queue of its own would be written for nothing. What is kept of it (`kept-clients.ts`) is what it takes to go
 * on with it, a text that is its edge's alone, and for all of them the lowest id of a message that one has not acknowledged.
 * After a restart the log is read again from there, and what was acknowledged above it may be sent again.
 *
 * CoAP observers without a connection are kept as well (`kept-observers.ts`), since a device that subscribed once is told by
 * nobody that the gateway was started anew. They are owed nothing, and are written at an orderly end and every ten minutes.
 */
export type { Content as QueuedContent } from './codec.ts';
export type { KeptClients } from './kept-clients.ts';
export type { KeptObservers } from './kept-observers.ts';
export { defaultSessionLimits, type SessionDeps, type SessionLimits, type SessionLog } from './options.ts';
export { type EntryRow as QueuedMessage, WillRow } from './rows.ts';
export { logBrokerId, type Session } from './session.ts';
export { Sessions } from './sessions.ts';
export { type NumberedSource, SessionStore } from './store.ts';
