const secretKey = /^(?:password|token|secret|appClientSecret|authorization)$/i;
const maxDepth = 6;

/** A copy of a log line's fields in which the value of every key that names a secret is hidden, at any depth. */
export function withoutSecrets(fields: object): Record<string, unknown> {
  return hidden(fields, 0);
}

function hidden(fields: object, depth: number): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, secretKey.test(name) ? '[hidden]' : copied(value, depth + 1)]),
  );
}

function copied(value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null) return value;
  // also what ends a value that holds itself
  if (depth > maxDepth) return '[deep]';
  if (Array.isArray(value)) return value.map((one) => copied(one, depth + 1));
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null ? hidden(value, depth) : value;
}
