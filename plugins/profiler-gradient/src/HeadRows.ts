/**
 * What a runtime measured as rows: one per layer and query head.
 */
import { windowCurve } from "@tessera/attention"
import type { InfluenceOptions, InfluenceResult, ModelConfig } from "@tessera/runtime"
import { Effect } from "effect"
import { ProfilerError } from "./Errors.js"
import type { ProfileLengthParams, ProfileParams } from "./Params.js"

/** What to ask of the runtime: block sums where they are kept, else only what windows cost. */
export const optionsOf = ({
  objective,
  block,
  sink,
  aggregation,
  keepBlocks
}: ProfileParams | ProfileLengthParams): InfluenceOptions => ({
  objective,
  block,
  sum: aggregation === "abs-entry" ? "abs" : "signed",
  ...(keepBlocks ? {} : { reduce: { kind: "windows", sink } })
})

export interface HeadRow {
  readonly layer: number
  /** Query head. */
  readonly head: number
  /** D(0) … D(blocks). */
  readonly window: ReadonlyArray<number>
  /** Block sums; empty unless they are kept. */
  readonly blocks: ReadonlyArray<number>
}

/** @param what names the item or length, for messages. */
export const headRows = (
  what: string,
  { queryHeads }: ModelConfig,
  { block, sink, keepBlocks }: ProfileParams | ProfileLengthParams,
  { blocks, layers }: InfluenceResult
): Effect.Effect<ReadonlyArray<HeadRow>, ProfilerError> =>
  Effect.forEach(
    layers.flatMap((sums, layer) =>
      Array.from({ length: queryHeads }, (_, head) => {
        const size = sums.length / queryHeads
        return { layer, head, sums: sums.subarray(head * size, (head + 1) * size) }
      })
    ),
    ({ layer, head, sums }) => {
      const window = Array.from(keepBlocks ? windowCurve(sums, blocks, sink / block) : sums)
      return window.every(Number.isFinite)
        ? Effect.succeed({ layer, head, window, blocks: keepBlocks ? Array.from(sums) : [] })
        : new ProfilerError({
            reason: "NotFinite",
            detail: `the influence of ${what} in layer ${layer}, head ${head} is not finite; check the model's weights`
          })
    }
  )
