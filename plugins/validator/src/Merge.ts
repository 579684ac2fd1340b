/**
 * Puts lists of candidates together, to measure them side by side.
 */
import { Candidates } from "@tessera/attention"
import { type ArtifactError, type Ref, stage } from "@tessera/core"
import { Effect, Schema } from "effect"

/** Two lists of candidates, one after the other. */
export const mergeCandidates = stage("merge-candidates", {
  version: "1",
  module: import.meta.url,
  description: "Puts two lists of candidates together",
  inputs: { first: Candidates, second: Candidates },
  outputs: { candidates: Candidates },
  params: Schema.Struct({}),
  run: ({ first, second }) =>
    Effect.gen(function* () {
      const [a, b] = [yield* first.value, yield* second.value]
      const [head, ...rest] = a.candidates
      return { candidates: { candidates: [head, ...rest, ...b.candidates] as const } }
    })
})

type CandidatesRef<E, R> = Ref<typeof Candidates, E, R>

/** Any number of lists, in order. */
export const mergeAll = <E, R>(
  first: CandidatesRef<E, R>,
  ...rest: ReadonlyArray<CandidatesRef<E, R>>
): CandidatesRef<E | ArtifactError, R> =>
  rest.reduce<CandidatesRef<E | ArtifactError, R>>(
    (merged, second) => mergeCandidates({ first: merged, second }, {}).candidates,
    first
  )
