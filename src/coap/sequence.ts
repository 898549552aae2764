/** Sequence numbers of observations, RFC 7641 §3.4: 24 bits, of which the half ahead is newer. */

const most = 0xff_ffff;
const half = 0x80_0000;

/** How far a sequence is moved on after a restart: more than is given out before it is kept again. */
const restartGap = 0x1_0000;

/** A first number that rises with time (`wall`, milliseconds), for a client that registers again (RFC 7641 §4.4). */
export function sequenceAt(wall: number): number {
  return Math.floor(wall / 16) & most;
}

/** The number to go on from after a restart: beyond all that may have been given out since `last` was kept, whatever the clock did. */
export function sequenceAfter(last: number, wall: number): number {
  const beyond = (last + restartGap) & most;
  const now = sequenceAt(wall);
  // newer than all that may have been given out, the first and the last of them
  const ahead = (now - beyond) & most;
  return ahead < half - restartGap ? now : beyond;
}
