/**
 * The log: one append-only sequence of records in a LevelDB directory, from which everything else is derived.
 *
 * Promise. `append` calls back only after the fsync that covers the record, or once every upstream that wants it has
 * acknowledged it, or with an error. Ids rise in the order of
 * acceptance and are never used twice, whatever is lost: the boot number is fsynced, in the store and in a file beside
 * it, before the first id of a boot is used.
 *
 * Format. One value per group commit, a chunk, under `c` + the id of its first record. Chunk = header (40 bytes:
 * version, clock quality, count, first id, wall and monotonic time, length, CRC-32C of the header), then records, each
 * length (4), CRC-32C (4), body. A body begins with its kind; a reader passes over kinds it does not know. `record.ts` has
 * the body of a message. A message may be kept beside the log under a name (`s` + name, a chunk of one record), written
 * in the same batch as its record: that is how retained messages survive without an fsync of their own.
 *
 * Events. Connections, disconnections and deliveries are recorded beside the messages: in chunks of the same form under
 * `e` + position (the id behind the last message that they may be about) + offset (the running count of event bytes).
 * They go with the next commit or, where none comes in a quarter of a second, by themselves without an fsync; they take no
 * ids, so that ids of messages have no holes. They go with the messages that they are about, or once they exceed a quarter
 * of the history's bytes, or its age.
 *
 * Writing. What arrives while one fsync runs gathers for the next; `commitGap` sets a least time between two. A message
 * that all upstreams which want it take at once (link up, nothing before it, room in the window) waits in memory for their
 * acknowledgements; what has not got them after `commitDelay` is fsynced, with all before it. What has is written for the
 * history, unsynced, `lazyDelay` after it came in at the latest. A retained message, one that a persistent session waits
 * for, and one that nobody wants go to the disk at once. Upstreams read ahead of the disk in memory. Cursors
 * ride with the next commit, or follow unsynced: after 32 messages, or within a second. Losing them costs duplicates only,
 * some 32 where the process is killed, and 1,000 at a power cut: then they are fsynced. A reader may have got more than
 * what lies below its cursor: such spans of ids are kept with it.
 *
 * Reading. What was committed lately is answered from memory. From disk a reader starts at the chunk that holds its id,
 * found by seeking backwards, never by scanning from the front (deleted entries there cost a scan). Ids are contiguous in
 * a boot, so a missing one is counted as lost; so is a record whose checksum is wrong. LevelDB verifies neither. Small
 * entries (readers' places, boot, clocks) carry a CRC-32C over key and value. Where a boot's last ids are missing no hole
 * shows; an orderly stop notes the last id beside the store, and what is found missing is kept under `x` + first id, so
 * that every reader counts it. A place that does not read is tried again after a second and then passed over, up to the
 * next that does.
 *
 * Time. A chunk says whether its wall time could be believed. Once the clock is set, the distance between it and the
 * monotonic one changes by what it was wrong before: that is kept for the boot, and what was recorded before is told with
 * the time that it really was.
 *
 * Accounting and deletion go by segment: a run of chunks of one boot, of about 1 MiB or an hour, or an eighth of the
 * smallest bound where that is less (64 KiB and 16 records at least). A closed segment's
 * summary (`g` + first id) is written in the batch that opens the next one, so that a start reads one small entry per
 * MiB and the chunks of the last segment, however large the log is. A segment is deleted once it exceeds the history's
 * bounds and no queue needs it, or once a queue that drops its oldest exceeds its own. Before that such a queue gives up
 * its messages of QoS 0, from the oldest on, as far as is needed: they stay in the log, but are not counted and not
 * sent, and what the queue holds on the disk may then exceed its bound by a fifth. Space is given back by compaction behind
 * the head, by volume.
 *
 * Room. The directory and what is derived from it (`elsewhere`) take the history's bound and a third on the disk at most, at
 * every moment; a bound below 4 MiB counts as one. What LevelDB needs beyond its entries is reckoned from the bound
 * (`room.ts`): its buffers, its notes and the volume of a compaction are scaled to it, its merges are not. The rest is for
 * messages and events, by what they take on the disk (`Retention` measures how they compress): a quarter of 4 MiB, a
 * third of 8 to 32 MiB, two thirds of 64 MiB at least; at 256 MiB, and sooner with what compresses, all of it. While what is too much is being deleted,
 * a sixteenth of the bound may be written, then commits wait for that. A queue is never cut short for that: what it
 * holds takes up to 28 MiB beside its own bound. The list of tables, which LevelDB only ever appends to, begins anew when it
 * has become long: the store is closed and opened between two uses (`renewal.ts`). Retained messages have a bound of their own.
 *
 * Failure. A write that fails fails all that waited for it, and the store is closed and opened again under a new boot
 * number until it works. Where the disk has no room for either, a file that was kept for that (`disk-space.ts`) goes first.
 *
 * Damage. Before LevelDB opens a directory its own files are looked at (`level-files.ts`): without CURRENT it would begin
 * anew, with a shortened list of tables it would delete those that are not on it, and over keys out of order it ends the
 * process. Blocks whose checksums are wrong are made unreadable before a repair, which then leaves them out. What does not
 * open, or does not read when it is recovered or merged, is repaired once, else moved aside as `log.corrupt-N`; what a repair
 * could not use is kept under the same name, two copies at most, and none while the disk is full. After a repair every
 * chunk is looked at. A reader whose place may have been lost begins with the oldest message.
 */

export { AtomicNumberFile, type NumberFile } from './boot-number.ts';
export type { Dropped, QueueOptions } from './cursors.ts';
export type { Deliverer } from './delivery.ts';
export { type DiskLevel, type DiskSpace, StateDisk } from './disk-space.ts';
export type { EventPage, Events } from './events.ts';
export type { Committed } from './gathering.ts';
export type { StateChange } from './kept.ts';
export { Log } from './log.ts';
export { newestOf } from './notes.ts';
export { openWhole } from './open-whole.ts';
export { isFinal } from './opening.ts';
export type { LogDeps, LogOptions } from './options.ts';
export type { LogPage } from './reader.ts';
export { contentFor, mostFor, reclaimedFor, slackFor } from './room.ts';
export type { RetentionBounds } from './segments.ts';
export {
  asideOf,
  isDamage,
  isDisk,
  LevelStore,
  type Range,
  type Store,
  type StoreOpening,
  type Write,
} from './store.ts';
