/**
 * Pictures as stages.
 */
import { Candidates, Measurements, PlanDocument } from "@tessera/attention"
import { stage, tree } from "@tessera/core"
import { Chunk, Effect, Schema, Stream } from "effect"
import { pareto } from "./Pareto.js"
import { spanMap } from "./SpanMap.js"

/** A folder with one SVG file. */
export const Picture = tree("Picture/1")

/** What candidates, baselines and the chosen plan lose at each length: `pareto.svg`. */
export const paretoPicture = stage("pareto-picture", {
  version: "1",
  module: import.meta.url,
  description: "Draws what plans lose at each length",
  inputs: { candidates: Candidates, measurements: Measurements, plan: PlanDocument },
  outputs: { picture: Picture },
  params: Schema.Struct({}),
  reproducible: "bitwise",
  run: ({ candidates, measurements, plan }) =>
    Effect.gen(function* () {
      const rows = Chunk.toReadonlyArray(yield* Stream.runCollect(measurements.rows))
      const svg = yield* pareto((yield* candidates.value).candidates, rows, yield* plan.value)
      return { picture: { files: { "pareto.svg": svg } } }
    })
})

/** The spans of a plan, layers × heads: `spans.svg`. */
export const spanPicture = stage("span-picture", {
  version: "1",
  module: import.meta.url,
  description: "Draws the spans of a plan",
  inputs: { plan: PlanDocument },
  outputs: { picture: Picture },
  params: Schema.Struct({
    /** N of each panel, in tokens. */
    lengths: Schema.NonEmptyArray(Schema.Int.pipe(Schema.positive()))
  }),
  reproducible: "bitwise",
  run: ({ plan }, { lengths }) =>
    plan.value.pipe(
      Effect.flatMap((plan) => spanMap(plan, lengths)),
      Effect.map((svg) => ({ picture: { files: { "spans.svg": svg } } }))
    )
})
