/** Sequence numbers of observations, RFC 7641 §3.4: 24 bits, of which the half ahead is newer. */

const most = 0xff_ffff;

/** How far a sequence is moved on after a restart: more than is given out before it is kept again. */
const restartGap = 0x1_0000;

/** A first number that rises with time (`wall`, milliseconds), for a client that registers again (RFC 7641 §4.4). */
export function sequenceAt(wall: number): number {
  return Math.floor(wall / 16) & most;
}

/**
 * The number to go on from after a restart: beyond all that may have been given out since `last` was kept. Not by the clock,
 * which may be anything then; 128 restarts that a client sees nothing of take longer than the 128 s after which it takes any.
 */
export function sequenceAfter(last: number): number {
  return (last + restartGap) & most;
}
