/**
 * Mean influence of all calibration items of one length, per layer and query head.
 */
import { CalibrationSet, Influence, Model } from "@tessera/attention"
import { stage } from "@tessera/core"
import { ModelRuntime, onRuntime } from "@tessera/runtime"
import { Chunk, Effect, Stream } from "effect"
import { ProfilerError } from "./Errors.js"
import { headRows, optionsOf } from "./HeadRows.js"
import { ProfileLengthParams } from "./Params.js"

/**
 * Meant for `profileLength.each` over the calibration set sharded by `length`: sums stay on the device until all items are
 * done, at the price of doing a length again from its first item where it was interrupted.
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
      const items = Chunk.toReadonlyArray(yield* Stream.runCollect(calibration.rows))
      const [first] = items
      const other = items.find(({ length }) => length !== first?.length)
      if (first === undefined)
        return yield* new ProfilerError({
          reason: "NoItems",
          detail: "there is no item to measure; calibrate some first"
        })
      if (other !== undefined)
        return yield* new ProfilerError({
          reason: "Inconsistent",
          detail: `items ${first.item} and ${other.item} are of lengths ${first.length} and ${other.length}; shard the calibration set by length`
        })
      const { length } = first
      const loaded = yield* runtime.load(model.path)
      const result = yield* loaded.influenceSum(items, optionsOf(params))
      const heads = yield* headRows(`length ${length}`, loaded.config, params, result)
      const { block, sink } = params
      const mean = (sums: ReadonlyArray<number>) => sums.map((sum) => sum / items.length)
      return {
        influence: Stream.fromIterable(
          heads.map(({ window, blocks, ...row }) => ({
            length,
            block,
            sink,
            items: items.length,
            ...row,
            window: mean(window),
            blocks: mean(blocks)
          }))
        )
      }
    })
})
