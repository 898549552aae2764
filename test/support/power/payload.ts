/** The payload of the message with that serial number: mostly small, some larger than a page, a few larger than a block. */
export function payloadOf(serial: number): Buffer {
  const random = generator(serial);
  const kind = random();
  const most = kind < 0.05 ? 40_000 : kind < 0.3 ? 8_000 : 1_000;
  const head = `${serial} `;
  const payload = Buffer.alloc(head.length + Math.floor(random() * most), head);
  // what LevelDB cannot compress
  for (let at = head.length; at + 4 <= payload.length; at += 4)
    payload.writeUInt32LE(Math.floor(random() * 2 ** 32), at);
  return payload;
}

/** Reproducible numbers from 0 up to, not including, 1. */
export function generator(seed: number): () => number {
  let state = Math.imul(seed + 1, 2_654_435_761) >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
