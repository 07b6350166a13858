/** Random queries, made of random terms. */
import fc from 'fast-check'
import type { QueryTree } from '../src/entities/query-tree.ts'

/** @param weight of a term, where everything else weighs one */
export const queryTrees = (
  term: fc.Arbitrary<QueryTree>,
  { maxDepth, weight }: { readonly maxDepth: number; readonly weight: number },
): fc.Arbitrary<QueryTree> =>
  fc.letrec<{ tree: QueryTree }>((tie) => ({
    tree: fc.oneof(
      { maxDepth, withCrossShrink: true },
      { weight, arbitrary: term },
      fc.constant<QueryTree>({ kind: 'all' }),
      tie('tree').map((of): QueryTree => ({ kind: 'not', of })),
      fc
        .tuple(
          fc.constantFrom('and' as const, 'or' as const),
          fc.array(tie('tree'), { minLength: 2, maxLength: 3 }),
        )
        .map(([kind, of]): QueryTree => ({ kind, of })),
    ),
  })).tree
