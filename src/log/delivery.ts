import type { Message } from '../domain/index.ts';

/**
 * Somebody whose acknowledgement is as good as the disk's: an upstream.
 *
 * `no`: does not want the message. `now`: sends it in this turn or the next, and tells the log once it is acknowledged.
 * `later`: wants it and cannot send it now, so that it has to be on the disk.
 */
export interface Deliverer {
  takes(message: Message, id: bigint): 'no' | 'now' | 'later';
}

/** All who may deliver messages before they are on the disk. */
export class Deliverers {
  readonly #all = new Set<Deliverer>();

  add(deliverer: Deliverer): () => void {
    this.#all.add(deliverer);
    return () => void this.#all.delete(deliverer);
  }

  /** How many acknowledgements stand in for the disk; 0 where nobody wants the message, or one that does has to wait. */
  offer(message: Message, id: bigint): number {
    let deliveries = 0;
    let everyone = true;
    for (const deliverer of this.#all) {
      const answer = deliverer.takes(message, id);
      if (answer === 'now') deliveries += 1;
      else if (answer === 'later') everyone = false;
    }
    return everyone ? deliveries : 0;
  }
}
