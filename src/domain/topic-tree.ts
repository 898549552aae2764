import { topicMatches } from './topic.ts';

interface Node<Value> {
  children: Map<string, Node<Value>> | undefined;
  values: Set<Value> | undefined;
}

/**
 * Values filed under topic filters, found by topic. A filter without wildcards costs one map look-up, whatever the
 * number of filters; one with wildcards costs a step per level of the topic.
 */
export class TopicTree<Value> {
  readonly #exact = new Map<string, Set<Value>>();
  readonly #root: Node<Value> = { children: undefined, values: undefined };
  #wildcards = 0;

  /** Files `value` under `filter`, once. */
  add(filter: string, value: Value): void {
    if (!hasWildcard(filter)) {
      const values = this.#exact.get(filter);
      if (values === undefined) this.#exact.set(filter, new Set([value]));
      else values.add(value);
      return;
    }
    let node = this.#root;
    for (const level of filter.split('/')) {
      node.children ??= new Map();
      let child = node.children.get(level);
      if (child === undefined) {
        child = { children: undefined, values: undefined };
        node.children.set(level, child);
      }
      node = child;
    }
    node.values ??= new Set();
    if (!node.values.has(value)) this.#wildcards += 1;
    node.values.add(value);
  }

  /** Removes `value` from `filter`; whether it was there. */
  delete(filter: string, value: Value): boolean {
    if (!hasWildcard(filter)) {
      const values = this.#exact.get(filter);
      const removed = values?.delete(value) ?? false;
      if (values?.size === 0) this.#exact.delete(filter);
      return removed;
    }
    const removed = this.#prune(this.#root, filter.split('/'), 0, value);
    if (removed) this.#wildcards -= 1;
    return removed;
  }

  /** Calls `visit` with each value filed under a filter that matches `topic`, once per matching filter. */
  match(topic: string, visit: (value: Value) => void): void {
    const exact = this.#exact.get(topic);
    if (exact !== undefined) for (const value of exact) visit(value);
    if (this.#wildcards > 0) this.#walk(this.#root, topic.split('/'), 0, topic[0] === '$', visit);
  }

  #walk(
    node: Node<Value>,
    levels: readonly string[],
    depth: number,
    dollar: boolean,
    visit: (value: Value) => void,
  ): void {
    if (node.children === undefined) {
      if (depth === levels.length && node.values !== undefined) for (const value of node.values) visit(value);
      return;
    }
    if (!(dollar && depth === 0)) {
      const rest = node.children.get('#')?.values;
      if (rest !== undefined) for (const value of rest) visit(value);
    }
    const level = levels[depth];
    if (level === undefined) {
      if (node.values !== undefined) for (const value of node.values) visit(value);
      return;
    }
    if (level !== '+' && level !== '#') {
      const same = node.children.get(level);
      if (same !== undefined) this.#walk(same, levels, depth + 1, dollar, visit);
    }
    const any = dollar && depth === 0 ? undefined : node.children.get('+');
    if (any !== undefined) this.#walk(any, levels, depth + 1, dollar, visit);
  }

  #prune(node: Node<Value>, levels: readonly string[], depth: number, value: Value): boolean {
    const level = levels[depth];
    if (level === undefined) {
      const removed = node.values?.delete(value) ?? false;
      if (node.values?.size === 0) node.values = undefined;
      return removed;
    }
    const child = node.children?.get(level);
    if (child === undefined) return false;
    const removed = this.#prune(child, levels, depth + 1, value);
    if (child.values === undefined && child.children === undefined) {
      node.children?.delete(level);
      if (node.children?.size === 0) node.children = undefined;
    }
    return removed;
  }
}

function hasWildcard(filter: string): boolean {
  return filter.includes('+') || filter.includes('#');
}

/** The entries of `topics` that `filter` matches: one look-up where it has no wildcard. */
export function* entriesMatching<Value>(
  topics: ReadonlyMap<string, Value>,
  filter: string,
): Generator<[string, Value]> {
  if (!hasWildcard(filter)) {
    const value = topics.get(filter);
    if (value !== undefined) yield [filter, value];
    return;
  }
  for (const entry of topics) if (topicMatches(filter, entry[0])) yield entry;
}
