/**
 * Mean influence of all calibration items of a length, per layer and query head.
 */
import { CalibrationSet, Influence, Model } from "@tessera/attention"
import { type Row, stage } from "@tessera/core"
import { type LoadedModel, ModelRuntime, onRuntime, type RuntimeError } from "@tessera/runtime"
import { Array as Arr, Chunk, Effect, Stream } from "effect"
import { ProfilerError } from "./Errors.js"
import { headRows, optionsOf } from "./HeadRows.js"
import { padded, widened } from "./Padding.js"
import { ProfileLengthParams } from "./Params.js"

const ofLength = (
  model: LoadedModel,
  length: number,
  items: ReadonlyArray<Row<typeof CalibrationSet>>,
  params: ProfileLengthParams
): Effect.Effect<ReadonlyArray<Row<typeof Influence>>, ProfilerError | RuntimeError> =>
  Effect.gen(function* () {
    const { block, sink } = params
    const full = Math.ceil(length / block)
    const longer = items.find(({ tokens }) => tokens.length > length)
    if (longer !== undefined) {
      return yield* new ProfilerError({
        reason: "Inconsistent",
        detail: `item ${longer.item} has ${longer.tokens.length} tokens and counts as one of ${length}`
      })
    }
    const result = yield* model.influenceSum(items, optionsOf(params))
    const heads = yield* headRows(`length ${length}`, model.config, params, result)
    const mean = (sums: Float64Array) => Array.from(sums, (sum) => sum / items.length)
    return heads.map(({ window, blocks, ...row }) => ({
      length,
      block,
      sink,
      items: items.length,
      ...row,
      window: mean(padded(window, full + 1)),
      blocks: mean(widened(blocks, result.blocks, full))
    }))
  })

/**
 * Meant for `profileLength.each` over the calibration set sharded by `length`: sums stay on the device until all items
 * of the length are done. The price: interrupted, the length is done again from its first item.
 */
export const profileLength = stage("profile-length", {
  version: "1",
  module: import.meta.url,
  description:
    "Measures by gradients what dropping attention values costs, as a mean over the items of a length",
  inputs: { model: Model, calibration: CalibrationSet },
  outputs: { influence: Influence },
  params: ProfileLengthParams,
  ...onRuntime,
  run: ({ model, calibration }, params) =>
    Effect.gen(function* () {
      const runtime = yield* ModelRuntime
      const loaded = yield* runtime.load(model.path)
      const items = Chunk.toReadonlyArray(yield* Stream.runCollect(calibration.rows))
      if (items.length === 0) {
        return yield* new ProfilerError({
          reason: "NoItems",
          detail: "there is no item to measure; calibrate some first"
        })
      }
      const byLength = Object.values(Arr.groupBy(items, ({ length }) => String(length)))
      const rows = yield* Effect.forEach(byLength, (of) => ofLength(loaded, of[0].length, of, params))
      return { influence: Stream.fromIterable(rows.flat()) }
    })
})
