/** JSON Schemas of what answers hold. */

export const integer = { type: 'integer' };
export const string = { type: 'string' };
export const boolean = { type: 'boolean' };
export const nullable = (type: string) => ({ type: [type, 'null'] });
export const id = { type: 'string', pattern: '^[0-9A-F]{16}$' };
export const list = (items: object) => ({ type: 'array', items });

/** An object that has each of `properties`. */
export function object(properties: Readonly<Record<string, object>>): object {
  return { type: 'object', properties, required: Object.keys(properties) };
}
