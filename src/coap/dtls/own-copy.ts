/** A copy with memory of its own: what is kept for long must not keep a slab of the pool that small buffers share. */
export function ownCopy(bytes: Uint8Array): Buffer {
  const copy = Buffer.alloc(bytes.length);
  copy.set(bytes);
  return copy;
}
