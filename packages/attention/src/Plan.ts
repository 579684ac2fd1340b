/**
 * A plan: one rule per layer and KV head, or per layer and query head.
 */
import { document } from "@tessera/core"
import { Schema } from "effect"
import { Geometry, Rule, windowBlocks } from "./Rule.js"

const absent = <A, I>(schema: Schema.Schema<A, I>) => Schema.optionalWith(schema, { exact: true })

/** Which model it is. A plan's rules are chosen for its weights, not only for its shape. */
export const ModelIdentity = Schema.Struct({
  /** What people call it, such as `meta-llama/Meta-Llama-3-8B-Instruct`. */
  name: absent(Schema.NonEmptyString),
  /** Digest of its folder, as stages are given it: `sha256:…`. */
  digest: absent(Schema.NonEmptyString)
}).annotations({ identifier: "ModelIdentity" })
export type ModelIdentity = typeof ModelIdentity.Type

/** The attention shape of the model a plan was made for, and where it is known, which model it is. */
export const AttentionShape = Schema.Struct({
  identity: absent(ModelIdentity),
  architecture: Schema.String,
  layers: Schema.Int.pipe(Schema.positive()),
  queryHeads: Schema.Int.pipe(Schema.positive()),
  kvHeads: Schema.Int.pipe(Schema.positive()),
  headDim: Schema.Int.pipe(Schema.positive())
})
  .pipe(
    Schema.filter(
      (shape) =>
        shape.queryHeads % shape.kvHeads === 0 ||
        `${shape.queryHeads} query heads cannot share ${shape.kvHeads} KV heads evenly`
    )
  )
  .annotations({ identifier: "AttentionShape" })
export type AttentionShape = typeof AttentionShape.Type

/** The shape as a port: emitted by whatever reads the model (a profiler), so that an optimizer needs no weights. */
export const AttentionShapeDocument = document("AttentionShape/1", AttentionShape)

/** `kv-head`: the query heads that share a KV head share a rule. `query-head`: each has its own. */
export const Grouping = Schema.Literal("kv-head", "query-head")
export type Grouping = typeof Grouping.Type

/**
 * N in span(N): the prompt alone, or the prompt and the tokens to be generated (as the official runtime sizes its cache).
 * With `prompt` even a head that keeps all of N drops its oldest tokens, the sink excepted, one for each generated.
 */
export const PlannedLength = Schema.Literal("prompt", "prompt+new")
export type PlannedLength = typeof PlannedLength.Type

/** What a plan was chosen to cost at one length. */
export const Expected = Schema.Struct({
  /** N in tokens. */
  length: Schema.Int.pipe(Schema.positive()),
  /** Share of the KV cache that is kept (`density`). */
  density: Schema.Finite,
  /** In the units of the influence; absent at a length that was not profiled. */
  loss: absent(Schema.Finite)
}).annotations({ identifier: "Expected" })
export type Expected = typeof Expected.Type

export const Plan = Schema.Struct({
  format: Schema.Literal(1),
  /** For people and tables, such as `moa-25` or `streaming-llm-50`. */
  name: Schema.String,
  model: AttentionShape,
  geometry: Geometry,
  grouping: Grouping,
  /** Rules by layer, then by KV head or query head. */
  rules: Schema.Array(Schema.Array(Rule)),
  length: PlannedLength,
  /** The lengths it was made for, ascending; absent where it was not made for any, or nobody knows. */
  expected: absent(Schema.Array(Expected)),
  /** Where it comes from: stage, objective, proof; free-form facts. */
  provenance: Schema.Record({ key: Schema.String, value: Schema.String })
})
  .pipe(
    Schema.filter((plan) => {
      const heads = plan.grouping === "kv-head" ? plan.model.kvHeads : plan.model.queryHeads
      return (
        (plan.rules.length === plan.model.layers && plan.rules.every((layer) => layer.length === heads)) ||
        `a ${plan.grouping} plan for this model needs ${plan.model.layers} layers of ${heads} rules`
      )
    })
  )
  .annotations({ identifier: "Plan" })
export type Plan = typeof Plan.Type

/** One plan that was chosen. */
export const PlanDocument = document("Plan/1", Plan)

export const Candidate = Schema.Struct({
  plan: Plan,
  /** Loss the optimizer expects at each profiled length, in the units of the influence. */
  expected: Schema.Array(Schema.Struct({ length: Schema.Int, loss: Schema.Finite, density: Schema.Finite }))
}).annotations({ identifier: "Candidate" })
export type Candidate = typeof Candidate.Type

/** Plans to choose from. */
export const Candidates = document(
  "Candidates/1",
  Schema.Struct({ candidates: Schema.NonEmptyArray(Candidate) })
)

/** The rule of a query head. */
export const ruleOfQueryHead = (plan: Plan, layer: number, head: number): Rule => {
  const index =
    plan.grouping === "query-head" ? head : Math.floor(head / (plan.model.queryHeads / plan.model.kvHeads))
  const rule = plan.rules[layer]?.[index]
  if (rule === undefined)
    throw new RangeError(`plan ${plan.name} has no rule for layer ${layer}, query head ${head}`)
  return rule
}

/** Windows in blocks of a layer's query heads at length N, the diagonal block included. */
export const layerWindows = (plan: Plan, layer: number, length: number): ReadonlyArray<number> =>
  Array.from({ length: plan.model.queryHeads }, (_, head) =>
    windowBlocks(ruleOfQueryHead(plan, layer, head), plan.geometry, length)
  )

/** Windows in blocks at length N, the diagonal block included, by layer and query head. */
export const planWindows = (plan: Plan, length: number): ReadonlyArray<ReadonlyArray<number>> =>
  plan.rules.map((_, layer) => layerWindows(plan, layer, length))
