import { makeMessageId } from '../domain/index.ts';

/**
 * What a list of postings is of: the messages of a client, its connections, the uplinks to a topic.
 *
 * Postings are kept as plain numbers, one after the other, without an object each. All begin with the wall time and the
 * position: of the message, counted from the first of the list's boot (negative in an earlier boot), or, for connections,
 * of the run of events. Then
 * - `client`: flags (bit 0: downlink, bits 1 and 2: QoS of a delivery);
 * - `connection`: flags (`refused`, `letIn`, `ended`), the run's offset, the event's index in it;
 * - `topic`: nothing more.
 */
export type Kind = 'client' | 'connection' | 'topic';

export const kinds: readonly Kind[] = ['client', 'connection', 'topic'];

/** Numbers per posting. */
export const strides: Readonly<Record<Kind, number>> = { client: 3, connection: 5, topic: 2 };

export const refused = 0;
export const letIn = 1;
export const ended = 2;

/** A posting taken out of its list. */
export interface Posting {
  readonly boot: number;
  readonly time: number;
  readonly position: number;
  readonly flags: number;
  readonly offset: number;
  readonly index: number;
}

/** Boots by which a message may be older than its delivery; so positions stay exact numbers, and their differences too. */
export const maxBootsBack = 2047;

/** The position of `id` counted from the first of `boot`. Exact where the boots are close; far apart only the order holds. */
export function positionFrom(boot: number, id: bigint): number {
  return Number(id - makeMessageId(boot, 0));
}

/** The id at `position` counted from the first of `boot`. */
export function idAt(boot: number, position: number): bigint {
  return makeMessageId(boot, 0) + BigInt(position);
}

/** Wall times are kept as whole milliseconds up to the year 3084. */
export function keptTime(time: number): number {
  return Math.min(Math.max(0, Math.round(time)), 2 ** 45);
}
