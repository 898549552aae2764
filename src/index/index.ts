/**
 * The query index: what the REST API asks of the past, derived from the log into a LevelDB directory of its own.
 *
 * Promise. Totals are exact. What is in the log is in the index within a second; what retention has deleted is in no answer
 * from that moment on. Nothing waits for the index: it follows by itself, in slices of 2 ms, and what it loses it reads
 * again from the log. The directory may be deleted while the gateway is stopped.
 *
 * Postings. Per client its messages: uplinks (what came by CoAP, MQTT or REST under its id) and deliveries to it. Per topic
 * the uplinks to exactly that topic. Per client its connections: let in, refused, ended. A posting holds the wall time and
 * the id of the message, or the place of the event; contents are read from the log. The order is that of the log, a run of
 * events behind the messages with ids below its position; the clock may be set either way. Deliveries of messages that are
 * 2,048 boots old, or that retention had deleted by then, are left out.
 *
 * Format. Up to 512 postings of a term, of one boot and one clock quality (so that wall times can be corrected later),
 * packed as differences into a block of 5 to 10 bytes a posting, under the term's hash and a rising number (`keys.ts`). Its
 * row says how many, between which times and ids; a body of over 160 bytes stands apart, so that counting a million
 * postings reads 2,000 rows. Rows, with their keys, and bodies carry a CRC-32C. `p` says how far the index is, in the batch that writes the
 * blocks up to there.
 *
 * Writing. Postings gather in memory and are written, unsynced, once there are 65,536, at the latest after ten minutes, and
 * at the end: so light traffic costs few writes, and a kill costs no more than reading that much again. A large flush takes
 * several batches; the first declares its block numbers void and the last takes that back (`flush.ts`).
 *
 * Sweeps. A pass over all rows in small steps merges small blocks of a term and deletes what lies before the log's head.
 * It is due once about as many blocks came as there were, or a quarter as many postings after the head has moved; so a
 * posting is rewritten a few times at most, and what is deleted takes no more than about the room of what is kept. A block
 * goes when its last posting does. Space is given back once half of the directory is free.
 *
 * Bound. With `maxBytes` the directory takes that and a third at most. Where its blocks leave less room than LevelDB needs,
 * the oldest quarter of the postings goes: the floor rises to a message that a flush began with (`bound.ts`), is written, and
 * from then on is to queries what the log's head is: what is about messages below is in no answer. Nothing is
 * added until a pass has deleted it and the space is given back. A message can still be asked for by its id.
 *
 * Queries see the blocks up to the last complete flush, and the postings in memory, as of one moment: LevelDB's iterator
 * is a snapshot, a flush in progress is hidden by its numbers, and changes to blocks wait until nobody reads. A block
 * that is wanted as a whole is counted by its row; those at the edges of the window and on the page are unpacked. Between
 * slices of 2 ms the event loop has its turn.
 *
 * Failure. What says more than the log (its last message or run of events is not there), is damaged, or was repaired, is
 * built anew while queries answer from what there is (`index_rebuilding`, `index_damaged`), once a minute at most. A store
 * that cannot be written is opened anew every five seconds; until then queries go on (`index_failing`).
 */
export type { IndexedLog } from './indexed-log.ts';
export type { IndexDeps, IndexOptions } from './options.ts';
export { Index } from './query-index.ts';
export type { ConnectionRecord, DeliveryRecord, MessageRecord, PageOf, Rows, TimeWindow } from './rows.ts';
