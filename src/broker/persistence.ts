import { Readable } from 'node:stream';
import * as aedesPersistence from 'aedes-persistence';
import type { StoredMessage } from '../domain/index.ts';

/** Where retained messages are found. */
export interface RetainedSource {
  matching(filter: string): Iterable<StoredMessage>;
}

/**
 * aedes's persistence: sessions in memory, retained messages from the pipeline, which has them on disk. aedes itself never
 * stores a retained message here.
 */
export function sessionPersistence(retained: RetainedSource): object {
  // a CommonJS module whose export is the factory; its types say otherwise
  const persistence = (aedesPersistence as unknown as { default: () => object }).default();
  const stream = (filters: readonly string[]) => Readable.from(packets(retained, filters));
  return Object.assign(persistence, {
    storeRetained: async () => undefined,
    createRetainedStream: (filter: string) => stream([filter]),
    createRetainedStreamCombi: (filters: readonly string[]) => stream(filters),
  });
}

function* packets(retained: RetainedSource, filters: readonly string[]): Generator<object> {
  for (const filter of filters) {
    for (const { topic, payload, qos } of retained.matching(filter)) {
      yield { cmd: 'publish', topic, payload, qos, retain: true, dup: false };
    }
  }
}
