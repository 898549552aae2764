import type { PageOf } from '../index/index.ts';

/** The rows of page `currentPage` (from 1). */
export function pageOf(
  { currentPage, pageSize }: { readonly currentPage: number; readonly pageSize: number },
  order: PageOf['order'],
): PageOf {
  return { skip: (currentPage - 1) * pageSize, limit: pageSize, order };
}
