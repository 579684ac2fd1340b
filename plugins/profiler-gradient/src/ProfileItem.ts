/**
 * Influence of one calibration item, per layer and query head.
 */
import { CalibrationSet, ItemInfluence, Model } from "@tessera/attention"
import { type Row, stage } from "@tessera/core"
import { type InfluenceResult, ModelRuntime } from "@tessera/runtime"
import { Chunk, Effect, Schema, Stream } from "effect"
import { ProfilerError } from "./Errors.js"
import { windowCurve } from "./WindowCurve.js"

export const ProfileParams = Schema.Struct({
  /**
   * What is differentiated: `cross-entropy` is the paper's; the gradient of a confident answer vanishes there, that of
   * `log-odds` does not.
   */
  objective: Schema.optionalWith(Schema.Literal("log-odds", "cross-entropy"), {
    default: () => "log-odds" as const
  }),
  /**
   * How an item's influence is summed over what a window drops: `abs-sample` |Σ E|, `abs-entry` Σ |E| (the official
   * code's), `signed` Σ E (the paper's text).
   */
  aggregation: Schema.optionalWith(Schema.Literal("abs-sample", "abs-entry", "signed"), {
    default: () => "abs-sample" as const
  }),
  /** Tokens per block. */
  block: Schema.optionalWith(Schema.Int.pipe(Schema.positive()), { default: () => 64 }),
  /** Tokens at the start that are never dropped; a multiple of `block`. */
  sink: Schema.optionalWith(Schema.Int.pipe(Schema.nonNegative()), { default: () => 64 }),
  /** Keep the block sums too, not only what windows cost: for optimizers with other shapes than windows. */
  keepBlocks: Schema.optionalWith(Schema.Boolean, { default: () => false })
}).pipe(Schema.filter(({ block, sink }) => sink % block === 0 || "sink must be a multiple of block"))
export type ProfileParams = typeof ProfileParams.Type

const itemRows = (
  { item, length }: Row<typeof CalibrationSet>,
  { block, sink, aggregation, keepBlocks }: ProfileParams,
  queryHeads: number,
  { blocks, layers }: InfluenceResult
): Effect.Effect<ReadonlyArray<Row<typeof ItemInfluence>>, ProfilerError> =>
  Effect.forEach(
    layers.flatMap((sums, layer) =>
      Array.from({ length: queryHeads }, (_, head) => ({
        layer,
        head,
        sums: sums.subarray(head * blocks * blocks, (head + 1) * blocks * blocks)
      }))
    ),
    ({ layer, head, sums }) => {
      const curve = windowCurve(sums, blocks, sink / block)
      if (!curve.every(Number.isFinite)) {
        return new ProfilerError({
          reason: "NotFinite",
          detail: `the influence of item ${item} in layer ${layer}, head ${head} is not finite; check the model's weights`
        })
      }
      return Effect.succeed({
        item,
        length,
        layer,
        head,
        block,
        sink,
        window: Array.from(curve, (value) => (aggregation === "abs-sample" ? Math.abs(value) : value)),
        blocks: keepBlocks ? Array.from(sums) : []
      })
    }
  )

/** Meant for `profileItem.each` over the calibration set sharded by `item`. */
export const profileItem = stage("profile-item", {
  version: "1",
  module: import.meta.url,
  description: "Measures by gradients what dropping attention values costs, for one item",
  inputs: { model: Model, calibration: CalibrationSet },
  outputs: { influence: ItemInfluence },
  params: ProfileParams,
  reproducible: "device",
  resources: { cpu: 2 },
  fingerprint: Effect.flatMap(ModelRuntime, (runtime) => runtime.fingerprint),
  run: ({ model, calibration }, params, task) =>
    Effect.gen(function* () {
      const runtime = yield* ModelRuntime
      const loaded = yield* runtime.load(model.path)
      const items = Chunk.toReadonlyArray(yield* Stream.runCollect(calibration.rows))
      const rows = yield* Effect.forEach(items, (item, i) =>
        Effect.gen(function* () {
          yield* task.report({ done: i, total: items.length, unit: "items", label: item.item })
          const result = yield* loaded.influence({
            tokens: item.tokens,
            mask: item.mask,
            objective: params.objective,
            block: params.block,
            sum: params.aggregation === "abs-entry" ? "abs" : "signed"
          })
          return yield* itemRows(item, params, loaded.config.queryHeads, result)
        })
      )
      return { influence: Stream.fromIterable(rows.flat()) }
    })
})
