/**
 * Upstream: the log forwarded to MQTT brokers, and their commands brought into it. One `Upstream` per `[[upstream]]`.
 *
 * Promises. A message leaves the queue only on the broker's PUBACK or PUBCOMP (QoS 0: once written to the socket), or
 * for a counted reason: expired, refused for good, trimmed away. Messages are sent in the order of the log (a broker may
 * hand on QoS 2 later than what follows it). After a loss of the link
 * or a crash at most one window of messages is sent again, each under the same `message-id`. A downlink is acknowledged
 * when the log has it, never before.
 *
 *     Upstream        connects, fails over, backs off; status topic, health
 *       ├ Dialects      which protocol a broker understands: 5, 3.1.1 as a bridge, 3.1.1
 *       ├ Link          one connection (`mqtt-link.ts`, the only file with mqtt.js), from CONNECT to its end
 *       ├ Drainer       log → link:  PageReader → Screen → packet → AckWindow → cursor; Lanes where the newest go first
 *       └ Downlink      link → log:  TopicMap → sink, acknowledged when durable
 *
 * Cursor. The id below which nothing is wanted any more: the end of the contiguous acknowledged prefix. It is all that
 * is kept of a queue; acknowledgements beyond it are forgotten with the link. The window counts from the cursor, so a
 * message whose acknowledgement is late holds the others up, which is the price of "at most one window again".
 *
 * Order. `fifo`: one lane, in the order of the log. `live_first`: while there is a backlog, two lanes, each in order, each
 * with its share of the window; what the fresh one has got beyond the cursor is kept as a span with the cursor, and read
 * past later. An older retained message is then sent without its flag where the topic has a later one.
 *
 * Given up, counted and announced as gaps: what the log dropped at a bound or could not read back, what is too old, QoS 0
 * below the queue's mark, and what a newer message of the same topic supersedes. `LatestByTopic` learns the newest ones by
 * reading the queue once through; what it does not know yet is sent needlessly.
 *
 * Link. mqtt.js reconnects without jitter, replays one message at a time, ignores Receive Maximum and may never call
 * back after a loss; so it gets one client object per connection and only what is in the window. Lack of an
 * acknowledgement within `ackTimeout`, or of a PINGRESP, ends the link. Full-jitter back-off, reset by a link that held
 * for ten seconds; the URLs are tried in order, and after a link that held, from the first again. A link to a later
 * URL is not given up to probe the first.
 *
 * Cost. PUBLISH is encoded here, as one buffer, and acknowledgements are read from mqtt.js's `packetreceive`: its own
 * `publish` copies and stores each message, and writes it in some thirty pieces. What is sent in one turn leaves in one
 * write, and a full window is refilled an eighth at a time.
 *
 * Packet identifiers come from a small range, because QoS 2 has a trap: an exchange cut short leaves its identifier
 * taken at the broker, which would drop the next message under it as a duplicate. Where a rule sends at QoS 2 and the
 * session is resumed, every identifier of the range is released (PUBREL) before anything is sent.
 *
 * Downlinks are taken from the CONNACK on, before the link counts as up. They are subscribed at QoS 1 at most: with QoS 2 the broker lets go of a message at PUBREC, which mqtt.js sends
 * before we have it. mqtt.js is told to read on at once, since the acknowledgements that let the queue shrink come
 * through the same socket; our own PUBACK follows when the message is durable. What the log cannot take for now waits,
 * bounded; what is beyond the bound is left to the broker, and fetched by a reconnect.
 *
 * Echo. Never sent back: what came from this upstream. Not received back: with MQTT 5 "no local", with Mosquitto its
 * bridge bit; with plain 3.1.1 what was sent in the last ten seconds is recognised by topic and payload.
 *
 * A permanent refusal (reason code from 0x80 on, but not 0x97 or 0x91) or a packet above the broker's Maximum Packet
 * Size is a dead letter: counted, logged, given up. It never blocks what stands behind it. So is a message over which a broker
 * closes the connection, as those of 3.1.1 refuse (`suspects.ts`): after three links that ended so, messages go one by one, each
 * on a link that has held for twelve seconds and whose broker has acknowledged the status; over which five such links in a row end, is
 * sent at QoS 1 if it was at 2, else given up. After three messages of one topic the others of it are, for an hour. As long as
 * the broker takes nothing else, nothing of another topic is given up.
 */
export type { AgeOf, DownlinkSink, LogPage, UpstreamLog } from './deps.ts';
export type { Gap } from './gap.ts';
export type { ConnectLink, Link, LinkEnd, LinkEvents, LinkLimits, LinkSession, LinkTarget } from './link.ts';
export { mqttConnector } from './mqtt-link.ts';
export type { ReplayOptions, UpstreamOptions, UpstreamRule, UpstreamStatus } from './options.ts';
export { Upstream, type UpstreamDeps, upstreamDown } from './upstream.ts';
