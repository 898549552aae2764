/** What is known of a key beside its type: a sentence for the sample file, and how its value is written and shown. */
export interface KeyNote {
  readonly doc: string;
  readonly unit?: 'duration' | 'size';
  readonly secret?: boolean;
}

const notes = new WeakMap<object, KeyNote>();

/** What was said of a key's schema. */
export function noteOf(schema: object): KeyNote | undefined {
  return notes.get(schema);
}

/** Says of a key's schema what it is for; gives the schema. */
export function key<Schema extends object>(doc: string, schema: Schema, more: Omit<KeyNote, 'doc'> = {}): Schema {
  notes.set(schema, { doc, ...more });
  return schema;
}
