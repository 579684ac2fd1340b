/**
 * All of MoA on the demo model: calibrate, profile, optimise, validate, emit; then dense, StreamingLLM and MoA side by
 * side on questions that were never used for choosing.
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import { Model } from "@tessera/attention"
import { streamingLlm } from "@tessera/baseline-streaming-llm"
import { calibrate, mergeCorpora } from "@tessera/calibration-multinews"
import { emitTriton } from "@tessera/codegen-triton"
import { pipeline, provide, source } from "@tessera/core"
import { demoEvaluation, demoLines, demoModelPath, demoNews, demoPrompts } from "@tessera/demo"
import { optimiseElastic } from "@tessera/optimizer-elastic"
import { profile, robust } from "@tessera/profiler-gradient"
import { paretoPicture } from "@tessera/report-svg"
import { RuntimeCpu } from "@tessera/runtime-cpu"
import { choose, evaluate, mergeAll } from "@tessera/validator"
import { Layer, Schema } from "effect"

const withDefault = <A, I>(schema: Schema.Schema<A, I>, value: NoInfer<A>) =>
  Schema.optionalWith(schema, { default: () => value })

export const demo = {
  /** Calibration items of each length and task. */
  items: withDefault(Schema.Int.pipe(Schema.positive()), 8),
  /** Lengths that are profiled, in tokens. */
  lengths: withDefault(Schema.NonEmptyArray(Schema.Int), [512, 1024, 2048]),
  /** A longer length that no plan has seen before it is validated. */
  unseen: withDefault(Schema.Int, 4096)
}

export const geometry = { block: 16, sink: 32, minWindow: 4 }

/** The demo model's influence, on both tasks it was trained on. */
export const profiledDemo = ({
  items,
  lengths
}: Pick<Schema.Struct.Type<typeof demo>, "items" | "lengths">) => {
  const model = source(Model, demoModelPath)
  const { corpus } = mergeCorpora(
    {
      first: demoNews({}, { lengths, items }).corpus,
      second: demoLines({}, { lengths, items }).corpus
    },
    {}
  )
  const { calibration } = calibrate({ model, corpus }, { lengths, items, templates: demoPrompts })
  return {
    model,
    ...profile({ model, calibration }, { ...robust, block: geometry.block, sink: geometry.sink })
  }
}

const Params = Schema.Struct({
  /** The smaller KV cache, as a share of the dense one; the other is twice as large. */
  density: withDefault(Schema.Number.pipe(Schema.between(0.05, 0.5)), 0.25),
  ...demo
})

const percent = (share: number) => String(Math.round(share * 100))

const quickstart = pipeline("quickstart", Params, ({ density, items, lengths, unseen }) => {
  const { model, influence, shape } = profiledDemo({ items, lengths })
  const validation = demoEvaluation(
    { model },
    { split: "validation", lengths: [unseen], records: 1, questions: 24, summaries: 1 },
    { name: "validation-set" }
  ).evaluation
  const optimised = (share: number, grouping: "kv-head" | "query-head") => {
    const name = `moa-${percent(share)}${grouping === "kv-head" ? "" : "-per-query-head"}`
    const { candidates } = optimiseElastic(
      { influence, shape },
      {
        density: share,
        grouping,
        name,
        minWindow: geometry.minWindow,
        extendLengths: [unseen],
        points: 2,
        maxCandidates: 3
      },
      { name: `optimise-${name}` }
    )
    const { measurements } = evaluate(
      { model, evaluation: validation, candidates },
      { dense: false, depths: false },
      { name: `validate-${name}` }
    )
    return choose({ candidates, measurements }, { name }, { name: `choose-${name}` })
  }
  const uniform = (share: number) => {
    const name = `streaming-llm-${percent(share)}`
    return streamingLlm({ shape }, { density: share, geometry, name }, { name }).candidates
  }

  const [half, quarter] = [2 * density, density]
  const moa = { half: optimised(half, "kv-head"), quarter: optimised(quarter, "kv-head") }
  const compared = mergeAll(
    uniform(half),
    uniform(quarter),
    moa.half.chosen,
    moa.quarter.chosen,
    optimised(half, "query-head").chosen,
    optimised(quarter, "query-head").chosen
  )

  const test = demoEvaluation(
    { model },
    { split: "test", lengths: [...lengths, unseen], records: 2, questions: 24, summaries: 2 },
    { name: "test-set" }
  ).evaluation
  const { measurements } = evaluate(
    { model, evaluation: test, candidates: compared },
    { depths: false },
    { name: "test" }
  )
  const { plan } = moa.quarter
  const { kernels } = emitTriton({ plan }, {})
  const { picture } = paretoPicture({ candidates: compared, measurements, plan }, {})
  return { kernels, plan, measurements, picture }
})

export default provide(quickstart, Layer.provideMerge(RuntimeCpu.layer(), NodeContext.layer))
