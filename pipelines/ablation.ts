/**
 * What each part of MoA brings on the demo model, every plan within the same KV bytes at every length: one rule for all, one
 * a layer, a share of the length per KV head, elastic rules per KV head (the paper's ablation); and beside them
 * DuoAttention's two kinds of heads and rules that do not grow with the length itself.
 *
 *     npx tessera run pipelines/ablation.ts
 *     npx tessera show measurements
 *     npx tessera show candidates        # with the losses that the influence expects
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import { binary, capped, elastic, log2, sqrt } from "@tessera/attention"
import { pipeline, provide } from "@tessera/core"
import { demoEvaluation } from "@tessera/demo"
import { densityBudget, optimiseElastic } from "@tessera/optimizer-elastic"
import { RuntimeCpu } from "@tessera/runtime-cpu"
import { evaluate, mergeAll } from "@tessera/validator"
import { Layer, Schema } from "effect"
import { demo, geometry, profiledDemo } from "./quickstart.js"

const Size = Schema.Int.pipe(Schema.positive())

const Params = Schema.Struct({
  /** The KV cache of every plan, as a share of the dense one: the most at each length. */
  density: Schema.optionalWith(Schema.Number.pipe(Schema.between(0.05, 1)), { default: () => 0.25 }),
  /** Recent tokens of DuoAttention's streaming heads. */
  recent: Schema.optionalWith(Size, { default: () => 64 }),
  /** Records and summaries of each length, and questions about each record. */
  records: Schema.optionalWith(Size, { default: () => 2 }),
  questions: Schema.optionalWith(Size, { default: () => 24 }),
  ...demo
})

const ablation = pipeline(
  "ablation",
  Params,
  ({ density, items, lengths, questions, recent, records, unseen }) => {
    const { model, influence, shape } = profiledDemo({ items, lengths })
    type Params = Parameters<typeof optimiseElastic>[1]
    const plan = (name: string, params: Params) =>
      optimiseElastic(
        { influence, shape },
        { minWindow: geometry.minWindow, objectives: "sum", name, ...params },
        { name: `optimise-${name}` }
      ).candidates
    const within = { density, extendLengths: [unseen] }
    // Spans as shares of the length alone.
    const shares = elastic({ alphas: [0], betas: [density, ...Array.from({ length: 16 }, (_, k) => k / 16)] })
    const duo = binary({ recent })
    const candidates = mergeAll(
      plan("uniform", { ...within, families: [shares], share: "model" }),
      plan("layers", { ...within, families: [shares], share: "layer" }),
      plan("heads", { ...within, families: [shares] }),
      plan("elastic", { ...within, families: [elastic()] }),
      plan("duo-attention", { ...within, families: [duo] }),
      // As DuoAttention is used: so many full heads, whatever they are of a short text.
      plan(`duo-attention-at-${unseen}`, {
        budgets: [densityBudget({ most: density, lengths: [unseen] })],
        families: [duo]
      }),
      plan("capped", { ...within, families: [capped()] }),
      plan("sqrt", { ...within, families: [sqrt()] }),
      plan("log2", { ...within, families: [log2()] }),
      plan("all-families", { ...within, families: [elastic(), capped(), sqrt(), log2()] })
    )
    const { evaluation } = demoEvaluation(
      { model },
      { split: "test", lengths: [...lengths, unseen], records, questions, summaries: records },
      { name: "test-set" }
    )
    const { measurements } = evaluate({ model, evaluation, candidates }, { depths: false }, { name: "test" })
    return { candidates, measurements }
  }
)

export default provide(ablation, Layer.provideMerge(RuntimeCpu.layer(), NodeContext.layer))
