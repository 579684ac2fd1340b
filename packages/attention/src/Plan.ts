/**
 * A plan: one rule per layer and KV head, or per layer and query head.
 */
import { document } from "@tessera/core"
import { Schema } from "effect"
import { cachedTokens, Geometry, Rule, windowBlocks } from "./Rule.js"

/** The attention shape of the model a plan was made for. */
export const AttentionShape = Schema.Struct({
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
  /** Where it comes from: stage, objective, lengths, expected losses; free-form facts. */
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

/**
 * Tokens each KV head of each layer caches at length N: the longest of the query heads that share it (a query-head
 * plan whose heads keep less than that can still mask, but its group caches what the longest needs).
 */
export const cachedTokensPerKvHead = (plan: Plan, length: number): ReadonlyArray<ReadonlyArray<number>> => {
  const group = plan.model.queryHeads / plan.model.kvHeads
  return plan.rules.map((rules) => {
    const tokens = rules.map((rule) => cachedTokens(rule, plan.geometry, length))
    return plan.grouping === "kv-head"
      ? tokens
      : Array.from({ length: plan.model.kvHeads }, (_, kv) =>
          Math.max(...tokens.slice(kv * group, (kv + 1) * group))
        )
  })
}

/** Mean over KV heads of cached tokens / N: KV bytes against the dense cache of the same (GQA) model. */
export const density = (plan: Plan, length: number): number => {
  const cached = cachedTokensPerKvHead(plan, length).flat()
  return cached.reduce((sum, tokens) => sum + tokens, 0) / (cached.length * length)
}

/** Mean over the plan's own heads of cached tokens / N; differs from `density` only for query-head plans. */
export const headDensity = (plan: Plan, length: number): number => {
  const cached = plan.rules.flat().map((rule) => cachedTokens(rule, plan.geometry, length))
  return cached.reduce((sum, tokens) => sum + tokens, 0) / (cached.length * length)
}

/** Bytes of keys and values that the plan keeps for one sequence of length N. */
export const kvBytes = (plan: Plan, length: number, bytesPerElement: number): number =>
  cachedTokensPerKvHead(plan, length)
    .flat()
    .reduce((sum, tokens) => sum + tokens * 2 * plan.model.headDim * bytesPerElement, 0)
