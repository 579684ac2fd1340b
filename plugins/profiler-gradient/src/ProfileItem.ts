/**
 * Influence of one calibration item, per layer and query head.
 */
import { CalibrationSet, ItemInfluence, Model } from "@tessera/attention"
import { stage } from "@tessera/core"
import { ModelRuntime, onRuntime } from "@tessera/runtime"
import { Chunk, Effect, Stream } from "effect"
import { headRows, optionsOf } from "./HeadRows.js"
import { ProfileParams } from "./Params.js"

/** Meant for `profileItem.each` over the calibration set sharded by `item`. */
export const profileItem = stage("profile-item", {
  version: "2",
  module: import.meta.url,
  description: "Measures by gradients what dropping attention values costs, for one item",
  inputs: { model: Model, calibration: CalibrationSet },
  outputs: { influence: ItemInfluence },
  params: ProfileParams,
  ...onRuntime,
  run: ({ model, calibration }, params, task) =>
    Effect.gen(function* () {
      const runtime = yield* ModelRuntime
      const loaded = yield* runtime.load(model.path)
      const items = Chunk.toReadonlyArray(yield* Stream.runCollect(calibration.rows))
      const { block, sink, aggregation } = params
      const rows = yield* Effect.forEach(items, ({ item, length, tokens, mask }, i) =>
        Effect.gen(function* () {
          yield* task.report({ done: i, total: items.length, unit: "items", label: item })
          const result = yield* loaded.influence({ tokens, mask, ...optionsOf(params) })
          const heads = yield* headRows(`item ${item}`, loaded.config, params, result)
          return heads.map(({ window, ...row }) => ({
            item,
            length,
            block,
            sink,
            ...row,
            window: aggregation === "abs-sample" ? window.map(Math.abs) : window
          }))
        })
      )
      return { influence: Stream.fromIterable(rows.flat()) }
    })
})
