/** A run of message ids: from `from` up to, not including, `to`. */
export interface Span {
  readonly from: bigint;
  readonly to: bigint;
}

/** The end of the span that holds `id`; undefined where none does. `spans`: rising, disjoint. */
export function spanEnd(spans: readonly Span[], id: bigint): bigint | undefined {
  for (const { from, to } of spans) if (id >= from && id < to) return to;
  return undefined;
}

/** The parts of `spans` above `at`, where `at` itself is in none: it is moved to the end of the span that held it. */
export function spansAbove(
  spans: readonly Span[],
  at: bigint,
): { readonly at: bigint; readonly spans: readonly Span[] } {
  let end = at;
  const above: Span[] = [];
  for (const span of spans) {
    if (span.to <= end) continue;
    if (span.from <= end) end = span.to;
    else above.push(span);
  }
  return { at: end, spans: above };
}

/** The higher of two ids. */
export function laterOf(one: bigint, other: bigint): bigint {
  if (one > other) return one;
  return other;
}

/** The lower of two ids. */
export function earlierOf(one: bigint, other: bigint): bigint {
  if (one < other) return one;
  return other;
}

/** The ids that two spans have in common; none where `to` is not above `from`. */
export function commonSpan(one: Span, other: Span): Span {
  return { from: laterOf(one.from, other.from), to: earlierOf(one.to, other.to) };
}
