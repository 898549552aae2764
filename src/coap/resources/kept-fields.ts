import type { KeptObservation, Place } from '../message-layer.ts';
import { sequenceAfter } from '../sequence.ts';

/** What a text of JSON says, read with care: it was on a disk. */
export type Fields = Partial<Record<string, unknown>>;

/** Nothing where the text is no object. */
export function fieldsIn(text: string): Fields {
  try {
    return fieldsOf(JSON.parse(text));
  } catch {
    return {};
  }
}

export function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

/** All that a list holds, as `read` gives it; undefined where it is none, or `read` makes nothing of one. */
export function listOf<Item>(list: unknown, read: (fields: Fields) => Item | undefined): Item[] | undefined {
  if (!Array.isArray(list)) return undefined;
  const items = list.map((one: unknown) => read(fieldsOf(one))).filter((one) => one !== undefined);
  return items.length < list.length ? undefined : items;
}

export function placeOf({ url, address, port }: Fields): Place | undefined {
  if (typeof url !== 'string' || typeof address !== 'string' || typeof port !== 'number') return undefined;
  return { url, address, port };
}

export function observationOf({ token, resource, szx, sequence }: Fields): KeptObservation | undefined {
  if (typeof token !== 'string' || typeof resource !== 'string' || typeof sequence !== 'number') return undefined;
  return { token: Buffer.from(token, 'base64'), resource, szx: typeof szx === 'number' ? szx : undefined, sequence };
}

/** As it is gone on with. */
export function numberedOn(kept: KeptObservation): KeptObservation {
  return { ...kept, sequence: sequenceAfter(kept.sequence) };
}

/** For JSON: the token in base64. */
export function writtenObservation(observation: KeptObservation): Fields {
  return { ...observation, token: Buffer.from(observation.token).toString('base64') };
}
