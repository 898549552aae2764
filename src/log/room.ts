/**
 * What a LevelDB directory takes on the disk beyond what is in it, and how that is kept in proportion to a bound. LevelDB
 * holds two journals and the tables made of them, some six of those before it merges them. A merge writes its first level
 * anew, of about 10 MiB at most, and where somebody reads at its end, what was merged stays up to the next one. Deleted
 * entries stay until they are merged away.
 */

const KiB = 1024;
const MiB = 1024 * KiB;
/** LevelDB's first level at its fullest, and how often it may be there beside itself: merged anew, and read. */
const firstLevel = 11 * MiB;
const copies = 1.5;
/** Journals and fresh tables that there may be at a time. */
const buffers = 6;
const leastBuffer = 64 * KiB;
const mostBuffer = 4 * MiB;
/** Below this no directory can be kept. */
const leastBound = 2 * MiB;
/** By how much what is on the disk may exceed a bound. */
const beyond = 4 / 3;

function within(least: number, value: number, most: number): number {
  return Math.floor(Math.min(most, Math.max(least, value)));
}

/** Bytes that LevelDB gathers before it makes a table of them, in a directory that may take `bound` bytes. */
export function bufferFor(bound: number): number {
  return within(leastBuffer, bound / 64, mostBuffer);
}

/** Bytes of LevelDB's diary, and of the list of its tables, in such a directory at most. */
export function notesFor(bound: number): number {
  return within(16 * KiB, bound / 128, MiB);
}

/** Bytes of deleted entries after which their space is given back. */
export function reclaimedFor(bound: number): number {
  return within(256 * KiB, bound / 16, 8 * MiB);
}

/** Bytes that may be written while what is too much is being deleted, before that waits. */
export function slackFor(bound: number): number {
  return Math.max(256 * KiB, bound / 16);
}

/** Bytes that come and go in such a directory, whatever is in it. */
function passingIn(bound: number): number {
  return buffers * bufferFor(bound) + reclaimedFor(bound) + slackFor(bound) + within(0, bound / 16, MiB);
}

/** Bytes that a directory which may take `bound` bytes takes at most moments while there are `content` bytes in it. */
export function mostFor(content: number, bound: number): number {
  const whole = Math.max(bound, leastBound);
  return content + Math.min(content, firstLevel) + passingIn(whole);
}

/**
 * Bytes of entries for which there is room so that the directory, at every moment, takes no more than a third beyond
 * `bound`, less the `elsewhere` bytes that other directories take of it. A bound below 2 MiB counts as one.
 */
export function contentFor(bound: number, elsewhere = 0): number {
  const whole = Math.max(bound, leastBound);
  const left = whole * beyond - passingIn(whole) - elsewhere;
  return Math.max(0, left < (1 + copies) * firstLevel ? left / (1 + copies) : left - copies * firstLevel);
}
